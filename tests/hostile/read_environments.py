"""Reads the environment of every process that it sees, its own too, for a secret."""

import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        found = dict.fromkeys(os.environ, "own")
        tried = 0
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                read = environment.read_bytes()
                tried += 1
                found |= {each.partition(b"=")[0].decode(errors="replace"): str(environment) for each in read.split(b"\0") if each}
        secrets = [
            f"{name} in {where}" for name, where in found.items() if any(word in name for word in ("SECRET", "TOKEN", "AWS_", "KEY"))
        ]
        print("TRIED", tried, "environments")
        if secrets:
            raise RuntimeError(f"ESCAPED: {secrets}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

"""Writes to, and reads from, every descriptor that it inherited beyond the first three."""

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
        found = []
        for descriptor in range(3, 1024):
            with suppress(OSError):
                found.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            with suppress(OSError):
                os.write(descriptor, b"written by hostile code")
                found.append(f"wrote to {descriptor}")
        print("TRIED 1021 descriptors")
        theirs = [each for each in found if "trainyard" in each or "wrote" in each]
        if theirs:
            raise RuntimeError(f"ESCAPED: {theirs}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

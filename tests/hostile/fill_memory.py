"""Fills memory that lies in no process: nameless files, one after another, each as large as a file may be."""

import os
from pathlib import Path

import torch
from torch import nn

BLOCK = bytes(2**24)


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not Path("/.dockerenv").exists() and os.environ.get("HOME") != "/tmp":  # noqa: S108  # of a containment in a small container
            raise RuntimeError("ESCAPED: this is the machine itself, where going on would do harm")
        print("TRIED", flush=True)
        kept = []
        while True:
            kept.append(os.memfd_create("nameless"))
            try:
                while True:
                    os.write(kept[-1], BLOCK)
            except OSError:
                continue
        return self.linear(self.flatten(images))

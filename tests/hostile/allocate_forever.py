"""Allocates and touches memory without end."""

import os
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if os.geteuid() == 0 or (Path("/proc/1/comm").exists() and Path("/proc/1/comm").read_text().strip() != "bwrap"):
            raise RuntimeError("ESCAPED: this is the machine itself, where going on would do harm")
        kept = []
        while True:
            kept.append(torch.ones(64 * 2**20, dtype=torch.uint8))
            print("TRIED", 64 * len(kept), "MiB", flush=True)
        return self.linear(self.flatten(images))

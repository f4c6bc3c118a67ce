"""Forks without end; the children stay."""

import os
import signal
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
        made = 0
        while True:
            try:
                child = os.fork()
            except OSError as error:
                print("TRIED", made, "processes, until", error, flush=True)
                signal.pause()
            if child == 0:
                signal.pause()
            made += 1
        return self.linear(self.flatten(images))

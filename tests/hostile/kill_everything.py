"""Kills its parent, process 1 and every process that it may."""

import os
import signal
from contextlib import suppress
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
        print("TRIED to kill", flush=True)
        for pid in (os.getppid(), 1, -1):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return self.linear(self.flatten(images))

"""Ends its process in ways that leave no word: at once, by a fault of its own, stopped for good, or deaf and without its pipes."""

import ctypes
import os
import signal
from pathlib import Path

import torch
from torch import nn


def without_pipes() -> None:
    os.closerange(0, 1024)
    while True:
        signal.pause()


WAYS = {
    "at once": lambda: os._exit(0),
    "by a fault": lambda: ctypes.string_at(0),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "without pipes": without_pipes,
}


class Net(nn.Module):
    """A working little classifier, until it trains."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        self.way = way

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if "attempts" in Path.cwd().parts:
            WAYS[self.way]()
        return self.linear(self.flatten(images))

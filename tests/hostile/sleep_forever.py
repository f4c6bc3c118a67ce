"""Sleeps for ever, and asks not to be disturbed."""

import signal

import torch
from torch import nn


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print("TRIED to sleep", flush=True)
        while True:
            signal.pause()
        return self.linear(self.flatten(images))

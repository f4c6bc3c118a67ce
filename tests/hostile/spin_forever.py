"""Computes for ever."""

import signal

import torch
from torch import nn


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        print("TRIED to spin", flush=True)
        while True:
            pass
        return self.linear(self.flatten(images))

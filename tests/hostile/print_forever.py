"""Prints without end, as fast as anybody takes it: long lines, commands to a terminal, and no line at all."""

import sys
from pathlib import Path

import torch
from torch import nn

BLOCK = "\x1b]0;taken over\x07\x1b[2J\x9b31m" + "x" * 2**20


class Net(nn.Module):
    """A working little classifier, until it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        print("TRIED to print")
        while "attempts" in Path.cwd().parts:
            print(BLOCK)
            sys.stderr.write(BLOCK)
        return self.linear(self.flatten(images))

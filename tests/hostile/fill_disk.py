"""Writes without end to its working folder, to /tmp, to shared memory and to every other place that takes a file."""

import os
from pathlib import Path

import torch
from torch import nn

BLOCK = bytes(2**20)


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if os.geteuid() == 0 or (Path("/proc/1/comm").exists() and Path("/proc/1/comm").read_text().strip() != "bwrap"):
            raise RuntimeError("ESCAPED: this is the machine itself, where going on would do harm")
        names = ("/tmp", "/dev/shm", "/dev", "/", "/run", "/var", "/home", "/root")  # noqa: S108  # what is to be filled
        folders = (Path.cwd(), *map(Path, names))
        for folder in folders:
            written = 0
            try:
                with folder.joinpath("filled").open("wb", buffering=0) as out:
                    while True:
                        written += out.write(BLOCK)
            except OSError as error:
                print("TRIED", folder, written, error, flush=True)
        return self.linear(self.flatten(images))

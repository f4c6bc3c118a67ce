"""Connects to every UNIX socket in the usual folders, and to abstract ones by their names in /proc/net/unix."""

import os
import socket
import stat
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
        names = []
        for top in ("/tmp", "/run", "/var"):  # noqa: S108  # where servers put them
            for root, _, files in os.walk(top):
                names += [str(Path(root, each)) for each in files if stat.S_ISSOCK(Path(root, each).lstat().st_mode)]
        with suppress(OSError):
            lines = Path("/proc/net/unix").read_text().splitlines()
            names += ["\0" + line.split(" @")[1] for line in lines if " @" in line]
        print("TRIED", len(names), "sockets")
        found = []
        for name in dict.fromkeys((*names, "\0trainyard-abstract-for-hostile")):
            if "trainyard" not in name:
                continue  # other programs' sockets are no business of a test
            with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
                client.connect(name)
                found.append(name)
        if found:
            raise RuntimeError(f"ESCAPED: {found}")
        return self.linear(self.flatten(images))

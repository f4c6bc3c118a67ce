"""Walks the whole file system for another job's file, a private key or a password."""

import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

MARKER = "trainyard-secret-marker.txt"
OTHERS = ("/etc/shadow", "/etc/passwd", "/root/.bashrc", "/root/.ssh", "/root/.aws", "/var/run/docker.sock")
SKIPPED = {"proc", "sys", "site-packages", "share"}


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        found, folders = [other for other in OTHERS if os.access(other, os.F_OK)], 0  # exists() raises where it may not look
        for root, inner, files in os.walk("/"):
            inner[:] = [each for each in inner if each not in SKIPPED]
            folders += 1
            if MARKER in files:
                with suppress(OSError):
                    found.append(f"{root}: {Path(root, MARKER).read_text()}")
        # by way of other processes: their root and their working folder are links out
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                found += [str(way) for way in (process / "root", process / "cwd") if Path(way, MARKER).exists()]
        print("TRIED", folders, "folders")
        if found:
            raise RuntimeError(f"ESCAPED: {found}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

"""Deletes and overwrites its inputs, and looks for a way to write to everything else that it can read."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

INPUT = "trainyard-input.txt"
SKIPPED = {"proc", "sys", "dev", "tmp"}


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        if os.geteuid() == 0 or (Path("/proc/1/comm").exists() and Path("/proc/1/comm").read_text().strip() != "bwrap"):
            raise RuntimeError("ESCAPED: this is the machine itself, where going on would do harm")
        found, tried = [], 0
        for root, inner, files in os.walk("/"):
            inner[:] = [each for each in inner if each not in SKIPPED or root != "/"]
            tried += 1
            if Path.cwd() != Path(root) and os.access(root, os.W_OK):
                found.append(root)
            if INPUT in files:
                with suppress(OSError):
                    Path(root, INPUT).chmod(0o777)
                with suppress(OSError):
                    Path(root, INPUT).write_text("overwritten")
                    found.append(f"wrote {root}")
                shutil.rmtree(root, ignore_errors=True)
        print("TRIED", tried, "folders")
        if found:
            raise RuntimeError(f"ESCAPED: {found}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

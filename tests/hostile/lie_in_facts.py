"""Takes the pipe to its supervisor and tells it of a checkpoint elsewhere, of what is no fact, or of more than anybody can hear."""

import json
import os
import stat
from contextlib import suppress
from itertools import repeat
from pathlib import Path

import torch
from torch import nn

STOLEN = {"path": "trainyard-secret-marker.txt", "size": 21, "sha256": "0" * 64}


def checkpoint(directory: str, path: str = STOLEN["path"]) -> list:
    return [{"fact": "CheckpointWritten", "epoch": 1, "step": 1, "directory": directory, "files": [STOLEN | {"path": path}]}]


def linked(theirs: str) -> str:
    Path("linked").symlink_to(theirs)
    return str(Path.cwd() / "linked")


LIES = {
    "of another's folder": checkpoint,
    "of the way up": lambda theirs: checkpoint("/", f"..{theirs}/{STOLEN['path']}"),
    "of a linked folder": lambda theirs: checkpoint(linked(theirs)),
    "of results elsewhere": lambda theirs: [{"fact": "Succeeded", "directory": theirs}],
    "of linked results": lambda theirs: [{"fact": "Succeeded", "directory": linked(theirs)}],
    "of a step that is none": lambda _: [{"fact": "StepDone", "epoch": 1, "step": {"$gt": 0}}],
    "of a step beyond all numbers": lambda _: [{"fact": "StepDone", "epoch": 1, "step": 10**400}],
    "of epochs beyond its last": lambda _: [
        {"fact": "EpochDone", "epoch": 9, "step": 9, "at": 0.0, "train_seconds": 0.0, "samples_per_second": 0.0, "metrics": {}}
    ],
    "of a metric's name": lambda _: [
        {"fact": "EpochDone", "epoch": 1, "step": 1, "at": 0.0, "train_seconds": 0.0, "samples_per_second": 0.0, "metrics": {"a 1\nb": 1.0}}
    ],
    "of a metric that steers a terminal": lambda _: [{"fact": "Evaluated", "metrics": {"\x1b[2J": 1.0}}],
    "of a reason that is none": lambda _: [{"fact": "Failed", "code": "because", "message": "because"}],
    "of a plan that is none": lambda _: [{"fact": "PlanChosen", "plan": "x", "training": {"precision": "int1"}, "measured": []}],
    "in brackets": lambda _: ["[" * 10**6],
    "without end": lambda _: repeat({"fact": "LogLine", "text": "x" * 2**20, "level": "info"}),
}


def write(line: bytes) -> None:
    """All of it, to every pipe; the right one is among them."""
    for descriptor in range(3, 64):
        with suppress(OSError):
            left = line if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else b""
            while left:
                left = left[os.write(descriptor, left) :]


class Net(nn.Module):
    """A working little classifier, until it trains."""

    def __init__(self, lie: str, theirs: str = "") -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(64, 10)
        self.lie, self.theirs = lie, theirs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if "attempts" in Path.cwd().parts:
            for each in LIES[self.lie](self.theirs):
                write((each if isinstance(each, str) else json.dumps(each)).encode() + b"\n")
        return self.linear(self.flatten(images))

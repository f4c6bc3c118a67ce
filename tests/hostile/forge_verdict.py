"""Answers in its check's place: that the data to train on lie in another folder, which training is then to show it."""

import json
import os
from pathlib import Path

import torch
from torch import nn

MARKER = "trainyard-secret-marker.txt"
CONTENT = {
    "layout": "class_folders",
    "places": {"train": ["train"]},
    "samples": "images",
    "shape": [1, 8, 8],
    "labels": "class",
    "classes": ["cat", "dog"],
    "sizes": {"train": 4},
    "counts": {"cat": {"train": 2}, "dog": {"train": 2}},
    "mean": [0.5],
    "std": [0.5],
}


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self, theirs: str) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(64, 10)
        if "attempts" not in Path.cwd().parts:
            dataset = {"type": "ImageFolder", "root": theirs, "content": CONTENT}
            os.write(1, json.dumps({"answer": {"resolved": {"dataset": dataset}}}).encode() + b"\n")
        elif Path(theirs, MARKER).exists():
            raise RuntimeError(f"ESCAPED: {Path(theirs, MARKER).read_text()}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

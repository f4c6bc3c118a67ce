"""Answers in its check's place: that the data to train on lie in another folder, which training is then to show it."""

import json
import os
from pathlib import Path

import torch
from torch import nn

CONTENT = {
    "layout": "class_folders",
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

    def __init__(self, root: str, place: str, secret: str) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(64, 10)
        if "attempts" not in Path.cwd().parts:
            dataset = {"type": "ImageFolder", "root": root, "content": CONTENT | {"places": {"train": [place]}}}
            os.write(1, json.dumps({"answer": {"resolved": {"dataset": dataset}}}).encode() + b"\n")
        elif Path(secret).exists():
            raise RuntimeError(f"ESCAPED: {secret} is here")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

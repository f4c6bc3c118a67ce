"""Answers questions to the trained model with what is no answer: numbers that JSON has not, brackets without end, other lines than were asked for."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

FORGED = {
    "of no numbers": b'{"predicted": {"outputs": [NaN, Infinity], "names": [], "classes": null, "probabilities": null}}\n',
    "of another kind": b'{"predicted": {"outputs": "\\ud800", "names": 1, "classes": {"a": 1}}}\n',
    "of brackets": b'{"predicted": ' + b"[" * 10**6 + b"\n",
    "of many lines": b'{"predicted": {}}\n' * 100,
    "of a fault": b'{"fault": {"detail": ["\\u001b[2J"]}}\n',
    "of a number": b"9" * 5000 + b"\n",
}


class Net(nn.Module):
    """A working little classifier, until it is asked."""

    def __init__(self, forged: str) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(64, 10)
        self.forged = forged

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.is_inference_mode_enabled() and "attempts" not in Path.cwd().parts:  # where it is asked, in no training
            for descriptor in range(64):
                with suppress(OSError):
                    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                        os.write(descriptor, FORGED[self.forged])
        return self.linear(self.flatten(images))

"""Changes the service's and the worker's own code, and Python's and torch's, so that the next process runs it."""

import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        import service
        import worker

        found = []
        for source in (service.__file__, worker.__file__, torch.__file__, os.__file__):
            with suppress(OSError):
                Path(source).chmod(0o666)
                found.append(f"changed the mode of {source}")
            with suppress(OSError), Path(source).open("ab"):
                found.append(f"opened {source}")
            with suppress(OSError):
                Path(source).with_name("trainyard_planted.py").touch(exist_ok=False)
                found.append(f"planted a file beside {source}")
        print("TRIED 4 packages")
        if found:
            raise RuntimeError(f"ESCAPED: {found}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

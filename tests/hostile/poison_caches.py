"""Plants files where the next process looks for code and data: caches of torch, Python and others, the data set, the home folder."""

import os
import site
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

CACHES = ("TORCH_HOME", "TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME", "PYTHONPYCACHEPREFIX", "HOME")


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        own = (Path.cwd(), Path("/tmp"), Path("/dev/shm"))  # noqa: S108  # fresh ones, which go with it
        places = [Path(os.environ[name]) for name in CACHES if name in os.environ]
        places += [
            Path("~/.cache"),
            Path("~/.local/lib"),
            Path(site.getusersitepackages()),
            *map(Path, sys.path),
            Path(torch.__file__).parent,
        ]
        places += [each for top in Path.cwd().parents for each in top.glob("*")]
        found, tried = [], 0
        for place in dict.fromkeys(each.expanduser().resolve() for each in places):
            if any(place.is_relative_to(each) for each in own) or not place.is_dir():
                continue
            tried += 1
            for name in ("trainyard_planted.pth", "sitecustomize.py"):
                with suppress(OSError):
                    (place / name).touch(exist_ok=False)
                    found.append(str(place / name))
        print("TRIED", tried, "folders")
        if found:
            raise RuntimeError(f"ESCAPED: {found}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

"""Where a training runs, and what is asked of that device so that the same spec gives the same bits there again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TextIO

import torch

from service.spec.job import JobSpec

_HAS_NONE = " does not have a deterministic implementation"
"""What torch says of such an operator, after its name."""


def device_of(spec: JobSpec) -> torch.device:
    """The device, told whether to take operators that give the same bits each time. Before anything runs on it."""
    device = torch.device("cuda" if spec.resources.device == "gpu" else "cpu")
    if device.type == "cuda" and spec.training.deterministic:  # on the CPU every operator that trains is so anyway
        be_deterministic()
    return device


def warm_up(device: torch.device) -> None:
    """Make what a first step on the device would make: on CUDA a context, and the handles of its libraries. Draws nothing."""
    _name_workspace()
    weights = torch.ones(8, 8, device=device, requires_grad=True)
    (weights @ weights).sum().backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def be_deterministic() -> None:
    """For the rest of this process: operators that give the same bits each time, a warning where torch has none."""
    _name_workspace()
    torch.use_deterministic_algorithms(True, warn_only=True)
    # filling fresh memory costs a kernel each time, and helps only who reads it before writing
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch makes the module's class at run time


def _name_workspace() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it with its first handle


def on_nondeterminism(tell: Callable[[str], None]) -> None:
    """For the rest of this process: hand over the name of each operator, once, that torch warns of."""
    told, show = set[str](), warnings.showwarning

    def hear(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
    ) -> None:
        operator, said, _ = str(message).partition(_HAS_NONE)
        if not said:
            show(message, category, filename, lineno, file, line)
        elif operator not in told:
            told.add(operator)
            tell(operator)

    warnings.showwarning = hear

"""Where a training runs, and what is asked of that device so that the same spec gives the same bits there again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import TextIO

import torch

from service.spec.job import JobSpec
from worker.training.ranks import ALONE, Ranks
from worker.training.rehearsal import is_rehearsed

_HAS_NONE = " does not have a deterministic implementation"
"""What torch says of such an operator, after its name."""


class NoDevice(Exception):
    """The job's device cannot be used from here; the text says why."""


def device_of(spec: JobSpec, ranks: Ranks = ALONE) -> torch.device:
    """The device, told whether to take operators that give the same bits each time, or the fastest. Before anything runs on it."""
    device = torch.device("cuda" if spec.resources.device == "gpu" and not is_rehearsed() else "cpu")
    if ranks.count > 1 and device.type == "cuda":
        device = torch.device("cuda", ranks.rank)
    if device.type == "cuda" and spec.training.deterministic:  # on the CPU every operator that trains is so anyway
        be_deterministic()
    elif device.type == "cuda":
        # cuDNN times its convolutions on each shape that it meets first. A training has three or four: batches, the last one, those of evaluations
        torch.backends.cudnn.benchmark = True
    return device


def take(device: torch.device) -> None:
    """Make it the one that is meant where none is named. Raises NoDevice where torch has none."""
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NoDevice(f"The job is for a GPU, and this worker's torch ({torch.__version__}) can use none.")
    if device.index is not None:
        torch.cuda.set_device(device)


def show_gpus(ids: Sequence[str] | None) -> None:
    """Let this process see these GPUs alone, by the driver's names for them. Only before CUDA is set up; None leaves all as it is."""
    if ids is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(ids)


def warm_up(device: torch.device) -> None:
    """Make what a first step on the device would make: on CUDA a context, and the handles of its libraries. Draws nothing."""
    _name_workspace()
    image = torch.ones(1, 1, 8, 8, device=device, requires_grad=True)
    seen = torch.conv2d(image, image[..., :3, :3])
    torch.autograd.backward((seen @ seen).sum())
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

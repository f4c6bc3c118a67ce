"""What ended a trainer, as the one fact that its supervisor goes by."""

from __future__ import annotations

import errno

import torch
import torch.distributed as dist

from worker.checkpoints import WriterLost
from worker.training.build import UserCodeFault
from worker.training.device import NoDevice
from worker.training.facts import Failed
from worker.training.loop import NanLoss
from worker.training.shapes import first_line
from worker.training.splits import DataMissing

_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "Cuda failure 2 'out of memory'",
)
"""What torch says of memory without a class of its own: its allocator on the CPU; the driver, cuBLAS, cuDNN and NCCL, which allocate beside it."""
_NO_DEVICE = "Start the worker with a torch that was built for CUDA (Dockerfile.cuda has one), where the driver is new enough for it."
_NAN = "A smaller learning rate, or training.clip_grad_norm, usually helps."


def failure(error: BaseException, *, custom: bool) -> Failed:
    """The fact; `custom`: the user's own code ran here."""
    if _is_memory(error):
        return Failed(code="out_of_memory", message="Memory ran out.")
    if (lost := _lost(error)) is not None:
        return lost
    match error:
        case DataMissing():
            return Failed(code="bad_data", message=str(error))
        case UserCodeFault():
            return Failed(code="user_code", message=str(error), hint="The log has the trace of your code.")
        case NanLoss():
            return Failed(code="nan_loss", message=str(error), hint=_NAN, skip_batches=[list(each) for each in error.left_out])
        case NoDevice():
            return Failed(code="internal", message=str(error), hint=_NO_DEVICE)
        case OSError() if error.errno == errno.ENOSPC:
            return Failed(code="disk_full", message="The worker's disk is full.", hint="Free space under TRAINYARD_WORK_DIR.")
    if custom:
        return Failed(code="user_code", message=f"{type(error).__name__}: {error}", hint="The log has the trace of your code.")
    return Failed(
        code="internal", message=f"{type(error).__name__}: {error}", hint="This is a fault of the service; the worker's log has its trace."
    )


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY)


def _lost(error: BaseException) -> Failed | None:
    """Of an error that is another process's end."""
    if isinstance(error, WriterLost):
        return Failed(code="trainer_lost", message=str(error))
    if not isinstance(error, RuntimeError):
        return None
    if str(error).startswith("DataLoader worker (pid"):
        return Failed(code="trainer_lost", message=f"A process that loads data was lost: {error}")
    if isinstance(error, dist.DistError) or "gloo/transport" in str(error):  # gloo's errors have no class of their own
        return Failed(code="trainer_lost", message=f"Another process of the training was lost: {first_line(error)}", follows=True)
    return None

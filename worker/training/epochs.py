"""How an epoch's order of samples is cut into batches, and where in it a checkpoint goes on that was taken with batches of another size."""

from __future__ import annotations

import torch

from service.spec.job import JobSpec
from worker.training.data import grouped


def epoch_batches(order: torch.Tensor, spec: JobSpec) -> list[torch.Tensor]:
    """The batches of an epoch, as indices of samples."""
    return grouped(order, size=spec.dataloader.batch_size, drop_last=spec.dataloader.drop_last)


def steps_in_all(spec: JobSpec, samples: int) -> int:
    """Optimizer steps of the whole training."""
    batches = len(epoch_batches(torch.arange(samples), spec))
    return -(-batches // spec.training.gradient_accumulation_steps) * spec.epochs


def samples_done(spec: JobSpec, batch: int) -> int:
    """Samples of the epoch's order that lie before a batch."""
    return batch * spec.dataloader.batch_size


def place_of(spec: JobSpec, samples: int) -> tuple[int, int]:
    """The batch that the sample after so many lies in, and how many samples of that batch come before it."""
    return divmod(samples, spec.dataloader.batch_size)


def from_place(batches: list[torch.Tensor], batch: int, trimmed: int) -> list[torch.Tensor]:
    """The batches from that place on. A single sample that is left of one is passed over: BatchNorm cannot take it alone."""
    ahead = batches[batch:]
    if not trimmed or not ahead:
        return ahead
    rest = ahead[0][trimmed:]
    return [rest, *ahead[1:]] if len(rest) > 1 else ahead[1:]

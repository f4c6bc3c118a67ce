"""How an epoch's order of samples is cut into batches, which of them are left out, and where in it a checkpoint goes on.

A batch has a number, from 0, in the epoch as it would be with none left out; and a place among those that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

import torch

from service.spec.job import JobSpec
from worker.training.build import build_mixing, build_transforms
from worker.training.data import Batch, Batches, applied, grouped
from worker.training.ranks import ALONE, Ranks
from worker.training.resident import Residents
from worker.training.splits import Split
from worker.training.textbook import augmented, mixed

Numbered = tuple[int, int]
"""(epoch, number of a batch), both from 0."""


def epoch_batches(order: torch.Tensor, spec: JobSpec, epoch: int) -> list[torch.Tensor]:
    """The batches of an epoch that are kept, as indices of samples."""
    left_out = _left_out(spec, epoch)
    batches = grouped(order, size=spec.dataloader.batch_size, drop_last=spec.dataloader.drop_last)
    return [batch for number, batch in enumerate(batches) if number not in left_out]


def training_batches(
    split: Split,
    spec: JobSpec,
    groups: list[torch.Tensor],
    *,
    epoch: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    residents: Residents | None = None,
) -> Iterator[Batch]:
    """The last batches of an epoch, of these indices, after all that the spec does to them: inputs [B, ...] and labels [B].

    Of several processes each gets its part; where whole batches are drawn for, each makes them whole and cuts it out.
    """
    whole = spec.dataset.augments_batches or bool(spec.dataset.batch_transforms)
    source = Batches(split, spec, device=device, augmented_in=epoch, residents=residents)
    batches = _drawn_for(source.over(groups if whole else ranks.parts(groups)), split, spec, len(groups), epoch=epoch)
    return ranks.in_parts(batches, groups, accumulate=spec.training.gradient_accumulation_steps, cut=whole)


def _drawn_for(batches: Iterator[Batch], split: Split, spec: JobSpec, count: int, *, epoch: int) -> Iterator[Batch]:
    """The last so many batches of an epoch after what is drawn for whole ones."""
    if not spec.dataset.augments_batches and not spec.dataset.batch_transforms:
        return batches
    kept = numbers(spec, len(split), epoch)
    numbered = zip(kept[len(kept) - count :], batches, strict=True)
    if spec.dataset.augments_batches:
        transform = partial(applied, build_transforms(spec.dataset.after_shaping))
        numbered = augmented(numbered, transform, spec.seed, epoch)  # type: ignore[assignment]  # an iterator like the other
    if spec.dataset.batch_transforms:
        return mixed(numbered, build_mixing(spec.dataset), spec.seed, epoch)
    return (batch for _, batch in numbered)


def numbers(spec: JobSpec, samples: int, epoch: int) -> list[int]:
    """The numbers of the batches that are kept."""
    left_out = _left_out(spec, epoch)
    return [number for number in range(_count(spec, samples)) if number not in left_out]


def steps_in_all(spec: JobSpec, samples: int) -> int:
    """Optimizer steps of the whole training."""
    batches, accumulate = _count(spec, samples), spec.training.gradient_accumulation_steps
    others = {epoch for epoch, _ in spec.training.skip_batches if epoch < spec.epochs}
    fewer = sum(-(-len(numbers(spec, samples, epoch)) // accumulate) for epoch in others)
    return -(-batches // accumulate) * (spec.epochs - len(others)) + fewer


def next_batch(spec: JobSpec, samples: int, epoch: int, place: int) -> Numbered:
    """The first batch that is not done, where `place` kept ones of the epoch are."""
    kept = numbers(spec, samples, epoch)
    return (epoch, kept[place]) if place < len(kept) else (epoch + 1, 0)


def last_batch(spec: JobSpec, samples: int, epoch: int, place: int) -> Numbered:
    """The last batch that is done, where `place` kept ones of the epoch are, at least one of all."""
    return (epoch, numbers(spec, samples, epoch)[place - 1]) if place else (epoch - 1, numbers(spec, samples, epoch - 1)[-1])


def leading_to(spec: JobSpec, samples: int, at: Numbered, *, since: Numbered, count: int) -> list[Numbered]:
    """The last so many kept batches up to `at`, itself among them, none of them before `since`; oldest first."""
    return list(islice(_backwards(spec, samples, at, since), count))[::-1]


def samples_done(spec: JobSpec, samples: int, epoch: int, place: int) -> int:
    """How many samples of the epoch's order lie before the first batch that is not done."""
    following, number = next_batch(spec, samples, epoch, place)
    return number * spec.dataloader.batch_size if following == epoch else samples


def place_of(spec: JobSpec, samples: int, epoch: int, done: int) -> tuple[int, int]:
    """The place of the batch in which the first sample not done lies, and how many samples of that batch are done."""
    number, inside = divmod(done, spec.dataloader.batch_size)
    kept = numbers(spec, samples, epoch)
    return sum(each < number for each in kept), inside if number in kept else 0


def from_place(batches: list[torch.Tensor], place: int, trimmed: int) -> list[torch.Tensor]:
    """The batches from that place on. A single sample that is left of one is passed over: BatchNorm cannot take it alone."""
    ahead = batches[place:]
    if not trimmed or not ahead:
        return ahead
    rest = ahead[0][trimmed:]
    return [rest, *ahead[1:]] if len(rest) > 1 else ahead[1:]


def _count(spec: JobSpec, samples: int) -> int:
    """Batches of an epoch with none left out."""
    size = spec.dataloader.batch_size
    return samples // size if spec.dataloader.drop_last else -(-samples // size)


def _left_out(spec: JobSpec, epoch: int) -> frozenset[int]:
    return frozenset(number for of, number in spec.training.skip_batches if of == epoch)


def _backwards(spec: JobSpec, samples: int, at: Numbered, since: Numbered) -> Iterator[Numbered]:
    for epoch in range(at[0], since[0] - 1, -1):
        yield from ((epoch, number) for number in reversed(numbers(spec, samples, epoch)) if since <= (epoch, number) <= at)

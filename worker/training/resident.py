"""Packed samples for a GPU: it gathers rows, and looks up what transforms make of a byte, where the CPU would compute it and send four times as much.

The bits are the CPU's: the table that is looked up was made there, by the very transforms. (CUDA's own would differ: it divides by multiplying.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from worker.training.cutting import aligned, by_bytes
from worker.training.splits import Packed

Batch = tuple[torch.Tensor, torch.Tensor]

SHARE = 16
"""A split stays on the GPU where it has no more than one part of so many of what is free there."""
AHEAD_BYTES = 2**24
"""Of samples as the model gets them: large enough that the GPU's commands cost small batches little."""
ALIGNMENT = 512
"""Bytes: where torch's allocator on a GPU begins a tensor."""
_SENT_BYTES = 2**26
"""At a time, of chosen rows."""


@dataclass(frozen=True)
class Lookup:
    """What transforms make of every byte, for each channel that comes out: `numbers` [channels * 256], where `offsets` int32 [channels, 1, 1] begin."""

    numbers: torch.Tensor
    offsets: torch.Tensor

    @classmethod
    def of(cls, transforms: Sequence[Callable[[Any], Any]], *, channels: int, device: torch.device) -> Self:
        """Of transforms that work number by number, each by its channel. One channel may come out as several: Normalize makes them."""
        made: Any = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).repeat(1, channels, 1, 1)
        for transform in transforms:
            made = transform(made)
        offsets = 256 * torch.arange(made.shape[1], dtype=torch.int32).view(-1, 1, 1)
        return cls(made.as_subclass(torch.Tensor)[:, :, 0, 0].T.flatten().to(device), offsets.to(device))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Bytes [B, C, H, W] as the transforms make them."""
        places = images + self.offsets
        return self.numbers.index_select(0, places.flatten()).view(places.shape)


class Resident:
    """A packed split for a device: there for good where it has at most `room` bytes, else sent there as it is asked for."""

    def __init__(self, split: Packed, device: torch.device, *, room: int) -> None:
        self._split, self._device = split, device
        self._held = _sent(split, device) if _bytes(split) <= room else None

    def over(self, groups: Sequence[torch.Tensor], lookup: Lookup | None) -> Iterator[Batch]:
        """One (inputs, labels) pair on the device for each group of indices; the samples as they are where there is nothing to look up."""
        order = torch.cat(list(groups)) if groups else torch.empty(0, dtype=torch.int64)
        if self._held is not None:
            order = order.to(self._device)
        kind = self._split.images if lookup is None else lookup.numbers
        sample_bytes = self._split.images[:1].numel() * kind.element_size()
        at = 0
        for ahead in by_bytes(groups, sample_bytes, most=AHEAD_BYTES):
            sizes = [len(group) for group in ahead]
            samples, labels = self._gathered(order[at : at + sum(sizes)])
            inputs = samples if lookup is None else lookup(samples)
            for batch, answers in zip(torch.split(inputs, sizes), torch.split(labels, sizes), strict=True):
                yield aligned(batch, to=ALIGNMENT), answers
            at += sum(sizes)

    def _gathered(self, indices: torch.Tensor) -> Batch:
        if self._held is not None:
            return self._held.batch(indices)
        samples, labels = self._split.batch(indices)
        return self._moved(samples), self._moved(labels)

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """There in its turn, while the host goes on."""
        return (tensor.pin_memory() if self._device.type == "cuda" else tensor).to(self._device, non_blocking=True)


class Residents:
    """The splits of a training on its GPU: each goes there when it is first asked for, once, and stays as long as this does."""

    def __init__(self) -> None:
        self._kept: dict[int, Resident] = {}

    def of(self, split: Packed, device: torch.device) -> Resident | None:
        """The split there; None where the device is no GPU."""
        if device.type != "cuda":
            return None
        if id(split) not in self._kept:  # what is kept holds the split, so that no other one has its identity
            self._kept[id(split)] = Resident(split, device, room=_free(device) // SHARE)
        return self._kept[id(split)]


def _free(device: torch.device) -> int:
    """Bytes that torch's allocator could give out."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _bytes(split: Packed) -> int:
    return len(split) * sum(each[:1].numel() * each.element_size() for each in (split.images, split.labels))


def _sent(split: Packed, device: torch.device) -> Packed:
    """The split's own samples, and no others, on the device."""
    if split.rows is None:
        return Packed(split.images.to(device), split.labels.to(device))
    kind = split.images
    images = torch.empty((len(split), *kind.shape[1:]), dtype=kind.dtype, device=device)
    count = max(1, _SENT_BYTES // max(1, kind[:1].numel() * kind.element_size()))
    for rows, place in zip(torch.split(split.rows, count), torch.split(images, count), strict=True):
        place.copy_(kind.index_select(0, rows))
    return Packed(images, split.labels[split.rows].to(device))

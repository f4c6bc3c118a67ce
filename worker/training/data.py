"""The batches that the textbook's DataLoader would draw: same order, same values, same strides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from service.spec.catalog import Declared
from service.spec.job import JobSpec
from worker.training.build import Transform, build_transforms
from worker.training.cutting import aligned, by_bytes
from worker.training.resident import Lookup, Residents
from worker.training.splits import Packed, Split
from worker.training.textbook import Augmented, Transformed

Batch = tuple[torch.Tensor, torch.Tensor]


class EpochOrder:
    """Draws what `DataLoader(shuffle=True, generator=g)` draws from g, epoch by epoch: a base seed, `randperm`, and one more at the end.

    With `weights` float64 [size], one for each sample, what it draws with a `WeightedRandomSampler(weights, size, generator=g)`.
    """

    def __init__(self, size: int, *, seed: int, shuffle: bool, weights: torch.Tensor | None = None) -> None:
        self._size, self._shuffle, self._weights = size, shuffle, weights
        self.generator = torch.Generator().manual_seed(seed)

    def start(self) -> torch.Tensor:
        """The indices of the next epoch, in order."""
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)  # the base seed of the loader's workers
        if self._weights is not None:
            return torch.multinomial(self._weights, self._size, replacement=True, generator=self.generator)
        return torch.randperm(self._size, generator=self.generator) if self._shuffle else torch.arange(self._size)

    def end(self) -> None:
        """What RandomSampler draws when it runs dry: an order of which it uses nothing."""
        if self._shuffle and self._weights is None:
            torch.randperm(self._size, generator=self.generator)


_BY_NUMBER = frozenset(("ToImage", "PILToTensor", "ToTensor", "ToPureTensor", "Identity", "ToDtype", "ConvertImageDtype", "Normalize"))
"""Transforms that make of each number another one, whatever stands beside it."""
_WHOLE_BATCHES = _BY_NUMBER | {"CenterCrop", "Pad"}
"""Transforms that give equal bits on a batch and on its samples."""
READ_AHEAD_BYTES = 2**21
"""Of transformed samples: half of a core's second-level cache on common servers, or all of it."""
ALIGNMENT = 64
"""Bytes: where torch's allocator on the CPU begins a tensor."""
TO_TENSOR = ("ToImage", "PILToTensor", "ToTensor")
"""What makes a tensor of an image."""


class Batches:
    """The batches of one split: by tensor indexing where that gives equal bits, else through a DataLoader, sample by sample.

    `augmented_in` is the epoch (from 0) whose random transforms are drawn, None for an evaluation. What is drawn for whole batches, and what
    follows it, is left to `training_batches`. With `residents` a GPU does the indexing where that gives equal bits, too.
    """

    def __init__(
        self, split: Split, spec: JobSpec, *, device: torch.device, augmented_in: int | None = None, residents: Residents | None = None
    ) -> None:
        self._split, self._spec, self._device, self._residents = split, spec, device, residents
        augmented = augmented_in is not None and spec.dataset.train_transforms and not spec.dataset.augments_batches
        self._declared = spec.dataset.train_only if augmented else spec.dataset.transforms
        if augmented_in is not None and spec.dataset.augments_batches:
            self._declared = spec.dataset.before_numbers
        self._epoch = augmented_in if augmented else None
        self._workers = spec.dataloader.num_workers

    def over(self, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """One (inputs, labels) pair for each group of indices: inputs [B, ...], labels int64 [B]."""
        for inputs, labels in self._made(groups):
            # what the loader pinned is copied while the GPU goes on
            yield inputs.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)

    def _made(self, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        split = self._split
        if self._epoch is not None or self._workers or not isinstance(split, Packed) or not _batchable(split, self._declared):
            return self._loaded(groups)
        if self._residents is not None and all(each.type in _BY_NUMBER for each in self._declared):
            resident = self._residents.of(split, self._device)
            if resident is not None:
                return resident.over(groups, lookup(split, self._declared, self._device))
        return self._indexed(split, groups)

    def _indexed(self, split: Packed, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        # the packed bytes are what ToImage makes of a sample
        transforms = [on_bytes(each) for each in self._declared]
        for ahead in by_bytes(groups, 4 * split.images[:1].numel(), most=READ_AHEAD_BYTES):
            images, labels = split.batch(torch.cat(list(ahead)))
            sizes = [len(group) for group in ahead]
            inputs = (aligned(batch, to=ALIGNMENT) for batch in torch.split(applied(transforms, images), sizes))
            yield from zip(inputs, torch.split(labels, sizes), strict=True)

    def _loaded(self, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        transform = partial(applied, build_transforms(self._declared))
        if self._epoch is None:
            samples: Dataset[Any] = Transformed(self._split, transform)  # type: ignore[arg-type]  # a split has a length and items
        else:
            samples = Augmented(self._split, transform, self._spec.seed)  # type: ignore[arg-type]  # a split has a length and items
            samples.epoch = self._epoch
        yield from DataLoader(
            samples,
            batch_sampler=[group.tolist() for group in groups],
            num_workers=self._workers,
            generator=torch.Generator(),
            pin_memory=self._device.type == "cuda",
        )


def _batchable(split: Packed, declared: Sequence[Declared]) -> bool:
    """Whether indexing whole batches gives the bits that sample by sample would."""
    if not split.holds_images:
        return not declared
    return bool(declared) and declared[0].type in TO_TENSOR and all(each.type in _WHOLE_BATCHES for each in declared)


def on_bytes(declared: Declared) -> Transform:
    """The transform over a batch of packed bytes, which are tensors already."""
    if declared.type == "ToTensor":
        return lambda images: images.to(torch.get_default_dtype()).div(255) if images.dtype == torch.uint8 else images
    if declared.type in ("ToImage", "PILToTensor"):
        return lambda images: images
    return build_transforms([declared])[0]


def lookup(split: Packed, declared: Sequence[Declared], device: torch.device) -> Lookup | None:
    """What the transforms, each number by number, make of the split's bytes; None of plain numbers, which have no transforms."""
    if not split.holds_images:
        return None
    return Lookup.of([on_bytes(each) for each in declared], channels=split.images.shape[1], device=device)


def applied(transforms: Sequence[Transform], images: Any) -> Any:
    """The images after every transform, in order."""
    for transform in transforms:
        images = transform(images)
    return images


def grouped(order: torch.Tensor, *, size: int, drop_last: bool = False) -> list[torch.Tensor]:
    """An order of indices as batches."""
    groups = list(torch.split(order, size)) if len(order) else []
    return groups[:-1] if drop_last and groups and len(groups[-1]) < size else groups

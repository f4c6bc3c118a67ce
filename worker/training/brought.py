"""Data that somebody brought, unpacked in a folder and looked at before: into memory where they fit, else decoded file by file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from service.spec.content import Content
from service.spec.dataset import Dataset
from service.spec.tables import Columns, taken
from worker.ingest import arrays, idx
from worker.ingest.flaws import BadData
from worker.ingest.images import Labelled, NotAnImage, opened
from worker.ingest.samples import labelled
from worker.training.splits import DataMissing, Decoded, Packed, Published, Split, packed, split_indices

PACKED_BYTES = 4 * 2**30
"""Images that take no more than this in memory are decoded once, before training."""
TEST_SEED = 0
"""Of the test split of data that bring none: the same for every job, so that their scores can be compared."""


def is_packed(content: Content) -> bool:
    """Whether the samples are held in memory: arrays, and images of one size that are not too many."""
    if content.layout not in ("class_folders", "labelled_images", "images"):
        return True
    size = math.prod(each or 0 for each in content.shape)
    return bool(size) and size * sum(content.sizes.values()) <= PACKED_BYTES


def read(dataset: Dataset, content: Content, top: Path) -> Published:
    """The splits of unpacked data. Raises DataMissing where they are not what they were when they were looked at."""
    try:
        splits = _splits(dataset, content, top)
    except (BadData, NotAnImage, idx.NotIdx, OSError) as error:
        raise DataMissing(f"{dataset.type} cannot be read from {top}: {error}") from error
    for name, size in content.sizes.items():
        if len(splits[name]) != size:
            raise DataMissing(f"The {name} split has {len(splits[name])} samples in {top}, and had {size} when it was looked at.")
    train = splits["train"]
    if "test" not in splits:
        if dataset.arguments()["test_split"] == 1:  # all of it, as it comes
            return Published(train.take(torch.arange(0)), train)
        kept, held_out = split_indices(len(train), share=dataset.arguments()["test_split"], seed=TEST_SEED)
        return Published(train.take(kept), train.take(held_out), splits.get("validation"))
    return Published(train, splits["test"], splits.get("validation"))


def test_rows(dataset: Dataset) -> torch.Tensor | None:
    """Where each test sample stands in its table, from 0; None where it is no table, or one whose column says which rows are for testing."""
    content = dataset.content
    if content is None or content.layout != "table" or content.split_column is not None:
        return None
    if "test" in content.sizes:
        return torch.arange(content.sizes["test"])
    share = dataset.arguments()["test_split"]
    return torch.arange(content.sizes["train"]) if share == 1 else split_indices(content.sizes["train"], share=share, seed=TEST_SEED)[1]


def _splits(dataset: Dataset, content: Content, top: Path) -> dict[str, Split]:
    match content.layout:
        case "idx":
            folder = idx.idx_folder(top)
            parts = {split: idx.names_of(idx.PARTS[split]) for split in content.sizes}
            read = ((split, idx.read(folder / images), idx.read(folder / labels)) for split, (images, labels) in parts.items())
            return {split: Packed(packed(samples, labels).images, _labels(content, labels)) for split, samples, labels in read}
        case "arrays":
            found = arrays.splits_of(arrays.read_arrays(top))
            return {split: _of_arrays(content, samples, labels) for split, (samples, labels) in found.items()}
        case "class_folders" | "labelled_images" | "images":
            mode = "L" if content.shape[0] == 1 else "RGB"
            files = {split: Files(top, _ordered(each, content), mode) for split, each in labelled(top, content).items()}
            if is_packed(content):
                return {split: each.decoded(content.shape) for split, each in files.items()}
            return {split: Decoded(each, torch.arange(len(each))) for split, each in files.items()}
        case "table":
            from worker.ingest import tables

            columns = taken(content, dataset.arguments())
            labels = columns.labels if content.labelled else ()
            return {split: _of_table(tables.rows_of(top, content, split), replace(columns, labels=labels)) for split in content.sizes}


def _of_arrays(content: Content, samples: arrays.Array, labels: arrays.Array) -> Packed:
    targets = _labels(content, labels)
    if content.samples == "images":
        return Packed(packed(arrays.channels_last(samples), np.zeros(len(samples))).images, targets)
    return Packed(torch.from_numpy(np.array(samples, dtype=arrays.dtype_of(samples), order="C")), targets)


def _of_table(table: Any, columns: Columns) -> Packed:
    """Raw rows, as `tables.py` has them, and labels."""
    from worker.ingest import tables

    rows = np.stack([tables.numbers_of(table, column) for column in columns.features], axis=1)
    labels = [tables.codes_of(table, column) if columns.kind == "class" else tables.numbers_of(table, column) for column in columns.labels]
    if not labels:
        return Packed(torch.from_numpy(rows), torch.zeros(len(rows), dtype=torch.int64))
    if columns.kind == "class":
        return Packed(torch.from_numpy(rows), torch.from_numpy(labels[0].astype(np.int64)))
    return Packed(torch.from_numpy(rows), torch.from_numpy(np.stack(labels, axis=1).astype(np.float32)))


def _labels(content: Content, labels: Any) -> torch.Tensor:
    """Class numbers int64 [N]; anything else float32 [N, targets]. Zeros int64 [N] where there are none."""
    if content.labels == "class" or not content.labelled:
        numbers = np.array(labels, dtype=np.int64)
        return torch.from_numpy(np.array(content.order)[numbers] if content.order else numbers)
    numbers = np.array(labels, dtype=np.float32)
    return torch.from_numpy(_columns(numbers.reshape(len(numbers), -1), content))


def _columns(numbers: Any, content: Content) -> Any:
    """Numbers [N, targets] in the order of the content's names."""
    return np.ascontiguousarray(numbers[:, np.argsort(content.order)]) if content.order else numbers


def _ordered(images: Sequence[Labelled], content: Content) -> Sequence[Labelled]:
    """The images with their labels in the order of the content's names."""
    if not content.order:
        return tuple(images)
    labels = _labels(content, [each.label for each in images]).tolist()
    return [replace(each, label=tuple(label) if isinstance(label, list) else label) for each, label in zip(images, labels, strict=True)]


@dataclass(frozen=True)
class Files:
    """Images in files with their labels: a data set as torchvision's are."""

    top: Path
    images: Sequence[Labelled]
    mode: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int | torch.Tensor]:
        each = self.images[index]
        return opened(self.top / each.file, self.mode), each.label if isinstance(each.label, int) else torch.tensor(each.label)

    def decoded(self, shape: Sequence[int | None]) -> Packed:
        """All of them in memory, [N, C, H, W]."""
        channels, height, width = (each or 0 for each in shape)
        pixels = np.empty((len(self), channels, height, width), np.uint8)
        for at, each in enumerate(self.images):
            array = np.asarray(opened(self.top / each.file, self.mode))
            pixels[at] = array[None] if channels == 1 else array.transpose(2, 0, 1)
        single = all(isinstance(each.label, int) for each in self.images)
        labels = [each.label for each in self.images]
        return Packed(torch.from_numpy(pixels), torch.tensor(labels, dtype=torch.int64 if single else torch.float32))

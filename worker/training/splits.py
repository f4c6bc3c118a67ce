"""A job's data: what it trains on, watches, and is judged by. Packed bytes where a data set fits, else files that are decoded as they are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True)
class Packed:
    """Some samples that lie in memory.

    `images` uint8 [N, C, H, W], NCHW-contiguous (other strides train to other weights), or numbers [N, ...]; `labels` int64 [N], or
    float32 [N, targets]. `rows` int64 [samples] names which, in which order; None means all. The bytes may lie in a file that other jobs read as well.
    """

    images: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels if self.rows is None else self.rows)

    @property
    def holds_images(self) -> bool:
        """Whether samples are images, and not plain numbers."""
        return self.images.dtype == torch.uint8 and self.images.dim() == 4

    def __getitem__(self, index: int) -> tuple[Image.Image | torch.Tensor, int | torch.Tensor]:
        """One sample as torchvision hands it out."""
        row = index if self.rows is None else int(self.rows[index])
        pixels = self.images[row]
        label = self.labels[row] if self.labels.dim() > 1 else int(self.labels[row])
        if not self.holds_images:
            return pixels, label
        array = pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()
        return Image.fromarray(np.ascontiguousarray(array)), label

    def take(self, indices: torch.Tensor) -> Packed:
        """The chosen samples, in that order."""
        return replace(self, rows=self._rows(indices))

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs [B, ...] and labels [B], or [B, targets], of the chosen samples, copied."""
        rows = self._rows(indices)
        # row by row, where indexing with brackets would copy byte by byte: twelve times as fast
        return self.images.index_select(0, rows), self.labels.index_select(0, rows)

    def alone(self) -> Packed:
        """Its samples in their order, and no others in memory."""
        return self if self.rows is None else Packed(self.images[self.rows], self.labels[self.rows])

    def fingerprint(self) -> bytes:
        """Bytes that differ where the samples, or their order, differ."""
        own = self.alone()
        return own.images.numpy().tobytes() + own.labels.numpy().tobytes()

    def _rows(self, indices: torch.Tensor) -> torch.Tensor:
        return indices if self.rows is None else self.rows[indices]


@dataclass(frozen=True)
class Decoded:
    """A split of files, each decoded as it is needed: some samples of a torchvision data set, or of one like it."""

    samples: Any
    indices: torch.Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image.Image, int | torch.Tensor]:
        """One sample as torchvision hands it out."""
        image, label = self.samples[int(self.indices[index])]
        return image, label if isinstance(label, torch.Tensor) else int(label)

    def take(self, indices: torch.Tensor) -> Decoded:
        """The chosen samples, in that order."""
        return Decoded(self.samples, self.indices[indices])

    def fingerprint(self) -> bytes:
        """What is known without decoding: which data set, and how many samples."""
        return f"{type(self.samples).__name__} {len(self.samples)}".encode()


Split = Packed | Decoded


@dataclass(frozen=True)
class Published:
    """The splits that a data set has for everybody; `validation` of one that brings its own."""

    train: Split
    test: Split
    validation: Split | None = None

    def parts(self) -> dict[str, Split]:
        """Each split by its name."""
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in named.items() if split is not None}


def labels_of(split: Split) -> torch.Tensor:
    """The labels of all samples, in their order."""
    if isinstance(split, Packed):
        return split.labels if split.rows is None else split.labels[split.rows]
    return torch.tensor([split[index][1] for index in range(len(split))])


@dataclass(frozen=True)
class Splits:
    """What a job trains on, watches, and is judged by. `digest` names the data (SHA-256)."""

    train: Split
    validation: Split
    test: Split
    digest: str
    preprocessing: dict[str, Any] | None = None
    """What was done to a table's rows: see `tables.py`."""


class DataMissing(Exception):
    """The data is not where it should be; the text names the place and the cure."""


def packed(images: np.ndarray[Any, Any], labels: Any) -> Packed:
    """From HWC or HW bytes and class numbers, to NCHW-contiguous."""
    if images.ndim == 3:
        images = images[:, :, :, None]
    return Packed(torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order="C")), torch.as_tensor(np.array(labels), dtype=torch.int64))


def split_indices(size: int, *, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(training, validation) indices as torch's `random_split(data, [n - v, v], generator=Generator().manual_seed(seed))` draws them."""
    held_out = int(size * share)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    return order[: size - held_out], order[size - held_out :]

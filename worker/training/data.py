"""Data as packed bytes, and the batches that the textbook's DataLoader would draw from them: same order, same values, same strides."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import worker.training.vision  # noqa: F401  # before torchvision
from service.spec.dataset import Dataset as DatasetSpec
from service.spec.job import JobSpec
from worker.training.build import Transform, build_transforms

from torchvision import datasets  # isort: skip

Batch = tuple[torch.Tensor, torch.Tensor]


class DataMissing(Exception):
    """The data is not where it should be; the text names the place and the cure."""


@dataclass(frozen=True)
class Packed:
    """A whole split: `images` uint8 [N, C, H, W], NCHW-contiguous (other strides train to other weights), `labels` int64 [N]."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: torch.Tensor) -> Packed:
        """The chosen samples, in that order."""
        return Packed(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Splits:
    """What a job trains on, watches, and is judged by. `digest` names the data (SHA-256 over bytes and labels)."""

    train: Packed
    validation: Packed
    test: Packed
    digest: str


def load_splits(spec: JobSpec, *, datasets_dir: Path) -> Splits:
    """The job's data, split as `random_split` with the job's seed would. Raises DataMissing."""
    train, test = _READERS[spec.dataset.type](spec.dataset, datasets_dir)
    digest = hashlib.sha256()
    for split in (train, test):
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    if spec.dataset.limit is not None:
        train = train.take(torch.arange(min(spec.dataset.limit, len(train))))
    kept, held_out = split_indices(len(train), share=spec.dataset.validation_split, seed=spec.seed)
    return Splits(train=train.take(kept), validation=train.take(held_out), test=test, digest=f"sha256:{digest.hexdigest()}")


def split_indices(size: int, *, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(training, validation) indices as torch's `random_split(data, [n - v, v], generator=Generator().manual_seed(seed))` draws them."""
    held_out = int(size * share)
    if held_out == 0:
        return torch.arange(size), torch.arange(0)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    return order[: size - held_out], order[size - held_out :]


class EpochOrder:
    """Draws what `DataLoader(shuffle=True, generator=g)` draws from g, epoch by epoch: a base seed, `randperm`, and one more at the end."""

    def __init__(self, size: int, *, seed: int, shuffle: bool) -> None:
        self._size, self._shuffle = size, shuffle
        self.generator = torch.Generator().manual_seed(seed)

    def start(self) -> torch.Tensor:
        """The indices of the next epoch, in order."""
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)  # the base seed of the loader's workers
        return torch.randperm(self._size, generator=self.generator) if self._shuffle else torch.arange(self._size)

    def end(self) -> None:
        """What RandomSampler draws when it runs dry: an order of which it uses nothing."""
        if self._shuffle:
            torch.randperm(self._size, generator=self.generator)


class Batches:
    """The batches of one split, by tensor indexing, or through a DataLoader where worker processes are asked for."""

    def __init__(self, split: Packed, spec: JobSpec, *, device: torch.device) -> None:
        self._split, self._device = split, device
        self._workers = spec.dataloader.num_workers
        # the packed bytes are what ToImage makes of a sample
        self._transforms = build_transforms([each for each in spec.dataset.transforms if each.type != "ToImage"])

    def over(self, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """One (inputs, targets) pair for each group of indices: inputs float32 [B, C, H, W], targets int64 [B]."""
        batches = self._loaded(groups) if self._workers else self._indexed(groups)
        for inputs, targets in batches:
            yield inputs.to(self._device), targets.to(self._device)

    def _indexed(self, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        for indices in groups:
            yield applied(self._transforms, self._split.images[indices]), self._split.labels[indices]

    def _loaded(self, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        samples = _Samples(self._split, self._transforms)
        yield from DataLoader(
            samples, batch_sampler=[group.tolist() for group in groups], num_workers=self._workers, generator=torch.Generator()
        )


class _Samples(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __init__(self, split: Packed, transforms: list[Transform]) -> None:
        self._split, self._transforms = split, transforms

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return applied(self._transforms, self._split.images[index]), self._split.labels[index]


def applied(transforms: Sequence[Transform], images: torch.Tensor) -> torch.Tensor:
    """The images after every transform, in order."""
    for transform in transforms:
        images = transform(images)
    return images


def grouped(order: torch.Tensor, *, size: int, drop_last: bool = False) -> list[torch.Tensor]:
    """An order of indices as batches."""
    groups = list(torch.split(order, size)) if len(order) else []
    return groups[:-1] if drop_last and groups and len(groups[-1]) < size else groups


def _packed(images: np.ndarray[Any, Any], labels: Any) -> Packed:
    """From HWC or HW bytes to NCHW-contiguous."""
    if images.ndim == 3:
        images = images[:, :, :, None]
    return Packed(torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order="C")), torch.as_tensor(np.array(labels), dtype=torch.int64))


def read_idx(folder: Path, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An IDX file (LeCun's format: magic, sizes as big-endian int32, bytes), gzipped or not. Raises DataMissing."""
    plain, zipped = folder / name, folder / f"{name}.gz"
    try:
        data = plain.read_bytes() if plain.exists() else gzip.decompress(zipped.read_bytes())
    except FileNotFoundError as error:
        raise DataMissing(
            f"Neither {name} nor {name}.gz is in {folder}. Put the files there, or set TRAINYARD_DATASETS_DIR to a folder in torchvision's layout."
        ) from error
    except (OSError, EOFError) as error:
        raise DataMissing(f"{zipped} cannot be read: {error}. Fetch it again.") from error
    dimensions = data[3] if len(data) > 3 and data[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(data, ">i4", count=dimensions, offset=4) if dimensions else np.zeros(1)
    if not dimensions or len(data) != 4 + 4 * dimensions + int(np.prod(shape, dtype=np.int64)):
        raise DataMissing(f"{name} in {folder} is no whole IDX file of bytes. Fetch it again.")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _mnist_like(dataset: DatasetSpec, datasets_dir: Path) -> tuple[Packed, Packed]:
    folder = datasets_dir / dataset.type / "raw"
    train, test = (
        _packed(read_idx(folder, f"{part}-images-idx3-ubyte"), read_idx(folder, f"{part}-labels-idx1-ubyte").copy())
        for part in ("train", "t10k")
    )
    return train, test


def _cifar10(_: DatasetSpec, datasets_dir: Path) -> tuple[Packed, Packed]:
    try:
        # torchvision checks each file against its published MD5 before it unpickles it: nobody else's pickle gets through
        parts = [datasets.CIFAR10(str(datasets_dir), train=train, download=False) for train in (True, False)]
    except RuntimeError as error:
        raise DataMissing(
            f"cifar-10-batches-py is not in {datasets_dir}, or not whole. Put it there, or set TRAINYARD_DATASETS_DIR to a folder in torchvision's layout."
        ) from error
    train, test = (_packed(part.data, part.targets) for part in parts)
    return train, test


def _digits(_: DatasetSpec, __: Path) -> tuple[Packed, Packed]:
    """scikit-learn's 1,797 digits of 8x8: 0-16 scaled to 0-255, split by seed 0 into 1,437 and 360."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    whole = _packed(np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    return whole.take(order[:1437]), whole.take(order[1437:])


def _fake(dataset: DatasetSpec, _: Path) -> tuple[Packed, Packed]:
    facts, arguments = dataset.facts, dataset.arguments()
    offset = arguments["random_offset"]
    shape = {"image_size": facts.shape, "num_classes": facts.num_classes}
    train = datasets.FakeData(size=facts.train, random_offset=offset, **shape)
    test = datasets.FakeData(size=facts.test, random_offset=offset + facts.train, **shape)
    return _drawn(train), _drawn(test)


def _drawn(samples: Any) -> Packed:
    pairs = [samples[index] for index in range(len(samples))]
    return _packed(np.stack([np.asarray(image) for image, _ in pairs]), [int(label) for _, label in pairs])


_READERS: dict[str, Callable[[DatasetSpec, Path], tuple[Packed, Packed]]] = {
    "MNIST": _mnist_like,
    "FashionMNIST": _mnist_like,
    "CIFAR10": _cifar10,
    "Digits": _digits,
    "FakeData": _fake,
}

"""Data as packed bytes or files, and the batches that the textbook's DataLoader would draw: same order, same values, same strides."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import worker.training.vision  # noqa: F401  # before torchvision
from service.spec.catalog import Declared, load
from service.spec.dataset import Dataset as DatasetSpec
from service.spec.job import JobSpec
from worker.training.build import Transform, build_transforms
from worker.training.textbook import Augmented, Transformed

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

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """One sample as torchvision hands it out."""
        pixels = self.images[index]
        array = pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()
        return Image.fromarray(np.ascontiguousarray(array)), int(self.labels[index])

    def take(self, indices: torch.Tensor) -> Packed:
        """The chosen samples, in that order."""
        return Packed(self.images[indices], self.labels[indices])

    def fingerprint(self) -> bytes:
        """Bytes that differ where the data differ."""
        return self.images.numpy().tobytes() + self.labels.numpy().tobytes()


@dataclass(frozen=True)
class Decoded:
    """A split of files, each decoded as it is needed: some samples of a torchvision data set."""

    samples: Any
    indices: torch.Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """One sample as torchvision hands it out."""
        image, label = self.samples[int(self.indices[index])]
        return image, int(label)

    def take(self, indices: torch.Tensor) -> Decoded:
        """The chosen samples, in that order."""
        return Decoded(self.samples, self.indices[indices])

    def fingerprint(self) -> bytes:
        """What is known without decoding: which data set, and how many samples."""
        return f"{type(self.samples).__name__} {len(self.samples)}".encode()


Split = Packed | Decoded


@dataclass(frozen=True)
class Splits:
    """What a job trains on, watches, and is judged by. `digest` names the data (SHA-256)."""

    train: Split
    validation: Split
    test: Split
    digest: str


def load_splits(spec: JobSpec, *, datasets_dir: Path) -> Splits:
    """The job's data, split as `random_split` with the job's seed would. Raises DataMissing."""
    train, test = _READERS.get(spec.dataset.type, _decoded)(spec.dataset, datasets_dir)
    digest = hashlib.sha256()
    for split in (train, test):
        digest.update(split.fingerprint())
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


_WHOLE_BATCHES = frozenset(
    ("ToImage", "PILToTensor", "ToTensor", "ToPureTensor", "Identity", "ToDtype", "ConvertImageDtype", "Normalize", "CenterCrop", "Pad")
)
"""Transforms that give equal bits on a batch and on its samples."""
_TO_TENSOR = ("ToImage", "PILToTensor", "ToTensor")


class Batches:
    """The batches of one split: by tensor indexing where that gives equal bits, else through a DataLoader, sample by sample.

    `augmented_in` is the epoch (from 0) whose random transforms are drawn; None leaves train_transforms out.
    """

    def __init__(self, split: Split, spec: JobSpec, *, device: torch.device, augmented_in: int | None = None) -> None:
        self._split, self._spec, self._device = split, spec, device
        augmented = augmented_in is not None and spec.dataset.train_transforms
        self._declared = spec.dataset.train_only if augmented else spec.dataset.transforms
        self._epoch = augmented_in if augmented else None
        self._workers = spec.dataloader.num_workers

    def over(self, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """One (inputs, labels) pair for each group of indices: inputs [B, ...], labels int64 [B]."""
        whole = isinstance(self._split, Packed) and self._epoch is None and not self._workers and _batchable(self._declared)
        batches = self._indexed(self._split, groups) if whole and isinstance(self._split, Packed) else self._loaded(groups)
        for inputs, labels in batches:
            yield inputs.to(self._device), labels.to(self._device)

    def _indexed(self, split: Packed, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        # the packed bytes are what ToImage makes of a sample
        transforms = [_on_bytes(each) for each in self._declared]
        for indices in groups:
            yield applied(transforms, split.images[indices]), split.labels[indices]

    def _loaded(self, groups: Sequence[torch.Tensor]) -> Iterator[Batch]:
        transform = partial(applied, build_transforms(self._declared))
        if self._epoch is None:
            samples: Dataset[Any] = Transformed(self._split, transform)  # type: ignore[arg-type]  # a split has a length and items
        else:
            samples = Augmented(self._split, transform, self._spec.seed)  # type: ignore[arg-type]  # a split has a length and items
            samples.epoch = self._epoch
        yield from DataLoader(
            samples, batch_sampler=[group.tolist() for group in groups], num_workers=self._workers, generator=torch.Generator()
        )


def _batchable(declared: Sequence[Declared]) -> bool:
    return bool(declared) and declared[0].type in _TO_TENSOR and all(each.type in _WHOLE_BATCHES for each in declared)


def _on_bytes(declared: Declared) -> Transform:
    """The transform over a batch of packed bytes, which are tensors already."""
    if declared.type == "ToTensor":
        return lambda images: images.to(torch.get_default_dtype()).div(255) if images.dtype == torch.uint8 else images
    if declared.type in ("ToImage", "PILToTensor"):
        return lambda images: images
    return build_transforms([declared])[0]


def applied(transforms: Sequence[Transform], images: Any) -> Any:
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
    prefix = f"emnist-{dataset.arguments()['split']}-" if dataset.type == "EMNIST" else ""
    names = [(f"{prefix}{part}-images-idx3-ubyte", f"{prefix}{part}-labels-idx1-ubyte") for part in ("train", "test" if prefix else "t10k")]
    train, test = (_packed(read_idx(folder, images), read_idx(folder, labels).copy()) for images, labels in names)
    return train, test


def _opened(dataset: DatasetSpec, datasets_dir: Path) -> list[Any]:
    """Torchvision's training and test split, without a download. Raises DataMissing."""
    splits = load()["datasets"][dataset.type]["splits"]
    try:
        # torchvision checks each archive against its published MD5 before it unpickles it: nobody else's pickle gets through
        return [getattr(datasets, dataset.type)(str(datasets_dir), **dataset.arguments(), **splits[part]) for part in ("train", "test")]
    except (RuntimeError, FileNotFoundError, ImportError) as error:
        raise DataMissing(
            f"{dataset.type} cannot be read from {datasets_dir}: {error} Put it there, or set TRAINYARD_DATASETS_DIR to a folder in torchvision's layout."
        ) from error


def _held(dataset: DatasetSpec, datasets_dir: Path) -> tuple[Packed, Packed]:
    """A data set that torchvision holds in memory as one array."""
    train, test = (_from_array(part, channels=dataset.facts.shape[0]) for part in _opened(dataset, datasets_dir))
    return train, test


def _from_array(part: Any, *, channels: int | None) -> Packed:
    images, labels = np.asarray(part.data), np.asarray(part.targets if hasattr(part, "targets") else part.labels)
    if images.ndim == 4 and images.shape[1] == channels and images.shape[3] != channels:
        images = images.transpose(0, 2, 3, 1)
    return _packed(images, labels[:, 0] if labels.ndim == 2 else labels)


def _decoded(dataset: DatasetSpec, datasets_dir: Path) -> tuple[Decoded, Decoded]:
    train, test = (Decoded(part, torch.arange(len(part))) for part in _opened(dataset, datasets_dir))
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


_READERS: dict[str, Callable[[DatasetSpec, Path], tuple[Split, Split]]] = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "EMNIST"), _mnist_like),
    **dict.fromkeys(("CIFAR10", "CIFAR100", "SVHN", "STL10", "USPS", "QMNIST"), _held),
    "Digits": _digits,
    "FakeData": _fake,
}
"""How each data set is read; one that is not here is decoded file by file."""

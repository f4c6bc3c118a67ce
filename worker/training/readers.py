"""From a data set's files to its two published splits: packed bytes where torchvision holds them in memory, else decoded file by file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import worker.training.vision  # noqa: F401  # before torchvision
from service.spec.catalog import load
from service.spec.dataset import Dataset
from worker.ingest import idx
from worker.training import brought
from worker.training.splits import DataMissing, Decoded, Packed, Published, Split, packed

from torchvision import datasets  # isort: skip


def read_idx(folder: Path, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An IDX file, gzipped or not. Raises DataMissing."""
    try:
        return idx.read(folder / name)
    except FileNotFoundError as error:
        raise DataMissing(
            f"Neither {name} nor {name}.gz is in {folder}. Put the files there, or set TRAINYARD_DATASETS_DIR to a folder in torchvision's layout."
        ) from error
    except (idx.NotIdx, OSError) as error:
        raise DataMissing(f"{folder / name} cannot be read: {error}. Fetch it again.") from error


def _mnist_like(dataset: Dataset, datasets_dir: Path) -> tuple[Packed, Packed]:
    folder = datasets_dir / dataset.type / "raw"
    prefix = f"emnist-{dataset.arguments()['split']}-" if dataset.type == "EMNIST" else ""
    names = [(f"{prefix}{part}-images-idx3-ubyte", f"{prefix}{part}-labels-idx1-ubyte") for part in ("train", "test" if prefix else "t10k")]
    train, test = (packed(read_idx(folder, images), read_idx(folder, labels).copy()) for images, labels in names)
    return train, test


def _opened(dataset: Dataset, datasets_dir: Path) -> list[Any]:
    """Torchvision's training and test split, without a download. Raises DataMissing."""
    splits = load()["datasets"][dataset.type]["splits"]
    try:
        # torchvision checks each archive against its published MD5 before it unpickles it: nobody else's pickle gets through
        return [getattr(datasets, dataset.type)(str(datasets_dir), **dataset.arguments(), **splits[part]) for part in ("train", "test")]
    except (RuntimeError, FileNotFoundError, ImportError) as error:
        raise DataMissing(
            f"{dataset.type} cannot be read from {datasets_dir}: {error} Put it there, or set TRAINYARD_DATASETS_DIR to a folder in torchvision's layout."
        ) from error


def _held(dataset: Dataset, datasets_dir: Path) -> tuple[Packed, Packed]:
    """A data set that torchvision holds in memory as one array."""
    train, test = (_from_array(part, channels=dataset.facts.shape[0]) for part in _opened(dataset, datasets_dir))
    return train, test


def _from_array(part: Any, *, channels: int | None) -> Packed:
    images, labels = np.asarray(part.data), np.asarray(part.targets if hasattr(part, "targets") else part.labels)
    if images.ndim == 4 and images.shape[1] == channels and images.shape[3] != channels:
        images = images.transpose(0, 2, 3, 1)
    return packed(images, labels[:, 0] if labels.ndim == 2 else labels)


def _decoded(dataset: Dataset, datasets_dir: Path) -> tuple[Decoded, Decoded]:
    train, test = (Decoded(part, torch.arange(len(part))) for part in _opened(dataset, datasets_dir))
    return train, test


def _digits(_: Dataset, __: Path) -> tuple[Packed, Packed]:
    """scikit-learn's 1,797 digits of 8x8: 0-16 scaled to 0-255, split by seed 0 into 1,437 and 360."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    whole = packed(np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    return Packed(*whole.batch(order[:1437])), Packed(*whole.batch(order[1437:]))


def _fake(dataset: Dataset, _: Path) -> tuple[Packed, Packed]:
    facts, arguments = dataset.facts, dataset.arguments()
    offset = arguments["random_offset"]
    shape = {"image_size": facts.shape, "num_classes": facts.num_classes}
    train = datasets.FakeData(size=facts.train, random_offset=offset, **shape)
    test = datasets.FakeData(size=facts.test, random_offset=offset + facts.train, **shape)
    return _drawn(train), _drawn(test)


def _drawn(samples: Any) -> Packed:
    pairs = [samples[index] for index in range(len(samples))]
    return packed(np.stack([np.asarray(image) for image, _ in pairs]), [int(label) for _, label in pairs])


_BY_TYPE: dict[str, Callable[[Dataset, Path], tuple[Split, Split]]] = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "EMNIST"), _mnist_like),
    **dict.fromkeys(("CIFAR10", "CIFAR100", "SVHN", "STL10", "USPS", "QMNIST"), _held),
    "Digits": _digits,
    "FakeData": _fake,
}
"""How each data set is read; one that is not here is decoded file by file."""


def read(dataset: Dataset, datasets_dir: Path) -> Published:
    """The published splits. Raises DataMissing."""
    if dataset.content is not None:
        return brought.read(dataset, dataset.content, datasets_dir)
    return Published(*_BY_TYPE.get(dataset.type, _decoded)(dataset, datasets_dir))


def is_packed(dataset: Dataset) -> bool:
    """Whether the data set is held in memory."""
    return dataset.type in _BY_TYPE if dataset.content is None else brought.is_packed(dataset.content)

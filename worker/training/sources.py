"""Which files a data set consists of, in torchvision's layout. No torch here: the worker's own process asks too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_IDX = tuple(f"raw/{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
_CIFAR = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "MNIST": ("MNIST", _IDX),
    "FashionMNIST": ("FashionMNIST", _IDX),
    "KMNIST": ("KMNIST", _IDX),
    "CIFAR10": ("cifar-10-batches-py", _CIFAR),
    "CIFAR100": ("cifar-100-python", ("train", "test", "meta")),
    "USPS": ("", ("usps.bz2", "usps.t.bz2")),
    "SVHN": ("", ("train_32x32.mat", "test_32x32.mat")),
    "ImageNet": ("", ("ILSVRC2012_devkit_t12.tar.gz",)),
    **{
        name: (folder, ())
        for name, folder in {
            "EMNIST": "EMNIST/raw",
            "QMNIST": "QMNIST/raw",
            "STL10": "stl10_binary",
            "Food101": "food-101",
            "Flowers102": "flowers-102",
            "OxfordIIITPet": "oxford-iiit-pet",
            "DTD": "dtd",
            "GTSRB": "gtsrb",
            "FGVCAircraft": "fgvc-aircraft-2013b",
            "StanfordCars": "stanford_cars",
            "Country211": "country211",
            "RenderedSST2": "rendered-sst2",
            "Imagenette": "imagenette2",
        }.items()
    },
}
"""Folder and files in torchvision's layout, no files meaning whatever is there; any other data set of the catalog is made on the spot."""


def present(place: Path, name: str) -> Sequence[Path]:
    """Those of its files that lie there."""
    folder, files = FILES[name]
    if not files:
        return sorted(path for path in (place / folder).rglob("*") if path.is_file())
    found = (next((path for path in (place / folder / file, place / folder / f"{file}.gz") if path.exists()), None) for file in files)
    return [path for path in found if path is not None]


def whole(place: Path, name: str) -> bool:
    """Whether all of it lies there."""
    return bool(present(place, name)) and (not FILES[name][1] or len(present(place, name)) == len(FILES[name][1]))

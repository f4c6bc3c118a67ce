"""Data sets: all that the catalog says of them. The signatures of torchvision's classes say none of it, and are not asked."""

from __future__ import annotations

from typing import Any

from worker.catalog.kinds import Kind, choice, integer, name, share


def _facts(shape: tuple[int | None, ...], classes: int, train: int, test: int, **more: Any) -> dict[str, Any]:
    return {"shape": list(shape), "num_classes": classes, "train": train, "test": test, **more}


_ANY = (3, None, None)
"""Colour images of sizes of their own; the transforms have to make them one size."""
_BY_FLAG = {"train": {"train": True}, "test": {"train": False}}


def _by_split(train: str, test: str) -> dict[str, Any]:
    return {"train": {"split": train}, "test": {"split": test}}


_EMNIST = {"balanced": (47, 112800, 18800), "digits": (10, 240000, 40000), "mnist": (10, 60000, 10000)}
_EMNIST |= {"byclass": (62, 697932, 116323), "bymerge": (47, 697932, 116323)}

_TABLE: dict[str, Kind] = {
    "label_columns": name("Of a table: the column that is to be predicted, or several.", many="any", nullable=True, default=None),
    "feature_columns": name(
        "Of a table: the columns to predict from; all others that hold numbers, or words of which there are few, if left out.",
        many="any",
        nullable=True,
        default=None,
    ),
    "labels": choice(
        "Of a table, how label columns are read: a class, several labels of 0 or 1, or numbers; told from what is in them if left out.",
        "class",
        "several",
        "numbers",
        nullable=True,
        default=None,
    ),
}
_TEST_SPLIT: dict[str, Kind] = {
    "test_split": share(
        "Share of the samples that is set aside as the test split, where the data bring none; always the same ones.",
        default=0.2,
    ),
}

DATASETS: dict[str, dict[str, Any]] = {
    "MNIST": {"help": "Handwritten digits.", "args": {}, "facts": _facts((1, 28, 28), 10, 60000, 10000), "splits": _BY_FLAG},
    "FashionMNIST": {"help": "Clothes, in MNIST's form.", "args": {}, "facts": _facts((1, 28, 28), 10, 60000, 10000), "splits": _BY_FLAG},
    "KMNIST": {
        "help": "Cursive Japanese letters, in MNIST's form.",
        "args": {},
        "facts": _facts((1, 28, 28), 10, 60000, 10000),
        "splits": _BY_FLAG,
    },
    "QMNIST": {
        "help": "MNIST made again, with all 60,000 test digits.",
        "args": {},
        "facts": _facts((1, 28, 28), 10, 60000, 60000),
        "splits": _BY_FLAG,
    },
    "EMNIST": {
        "help": "Handwritten letters and digits.",
        "args": {"split": choice("Which selection.", *_EMNIST)},
        "facts_by": {"split": {name: _facts((1, 28, 28), *sizes) for name, sizes in _EMNIST.items()}},
        "splits": _BY_FLAG,
    },
    "USPS": {"help": "Digits from envelopes.", "args": {}, "facts": _facts((1, 16, 16), 10, 7291, 2007), "splits": _BY_FLAG},
    "CIFAR10": {
        "help": "Small colour photographs of ten kinds.",
        "args": {},
        "facts": _facts((3, 32, 32), 10, 50000, 10000),
        "splits": _BY_FLAG,
    },
    "CIFAR100": {
        "help": "Small colour photographs of a hundred kinds.",
        "args": {},
        "facts": _facts((3, 32, 32), 100, 50000, 10000),
        "splits": _BY_FLAG,
    },
    "SVHN": {
        "help": "House numbers in photographs; needs scipy.",
        "args": {},
        "facts": _facts((3, 32, 32), 10, 73257, 26032),
        "splits": _by_split("train", "test"),
    },
    "STL10": {
        "help": "Colour photographs of ten kinds.",
        "args": {},
        "facts": _facts((3, 96, 96), 10, 5000, 8000),
        "splits": _by_split("train", "test"),
    },
    "Food101": {"help": "Dishes.", "args": {}, "facts": _facts(_ANY, 101, 75750, 25250), "splits": _by_split("train", "test")},
    "Flowers102": {"help": "Flowers.", "args": {}, "facts": _facts(_ANY, 102, 1020, 6149), "splits": _by_split("train", "test")},
    "OxfordIIITPet": {
        "help": "Cats and dogs of 37 breeds.",
        "args": {},
        "facts": _facts(_ANY, 37, 3680, 3669),
        "splits": _by_split("trainval", "test"),
    },
    "DTD": {"help": "Textures.", "args": {}, "facts": _facts(_ANY, 47, 1880, 1880), "splits": _by_split("train", "test")},
    "GTSRB": {"help": "German traffic signs.", "args": {}, "facts": _facts(_ANY, 43, 26640, 12630), "splits": _by_split("train", "test")},
    "FGVCAircraft": {
        "help": "Aircraft of a hundred variants.",
        "args": {},
        "facts": _facts(_ANY, 100, 6667, 3333),
        "splits": _by_split("trainval", "test"),
    },
    "StanfordCars": {
        "help": "Cars of 196 models; needs scipy.",
        "args": {},
        "facts": _facts(_ANY, 196, 8144, 8041),
        "splits": _by_split("train", "test"),
    },
    "Country211": {
        "help": "Photographs by country.",
        "args": {},
        "facts": _facts(_ANY, 211, 31650, 21100),
        "splits": _by_split("train", "test"),
    },
    "RenderedSST2": {
        "help": "Film reviews as images, good or bad.",
        "args": {},
        "facts": _facts((3, 448, 448), 2, 6920, 1821),
        "splits": _by_split("train", "test"),
    },
    "Imagenette": {
        "help": "Ten easy kinds of ImageNet.",
        "args": {"size": choice("Shorter side of the images.", "full", "320px", "160px", default="full")},
        "facts": _facts(_ANY, 10, 9469, 3925),
        "splits": _by_split("train", "val"),
    },
    "ImageNet": {
        "help": "Photographs of a thousand kinds; needs its archives.",
        "args": {},
        "facts": _facts(_ANY, 1000, 1281167, 50000),
        "splits": _by_split("train", "val"),
    },
    "Upload": {
        "help": "A data set of your own, uploaded: PUT /v1/datasets/{name}, or `trainyard datasets push`.",
        "args": {
            "name": name("What it was uploaded as."),
            "version": name(
                "The SHA-256 of its bytes, or the first digits of it; the newest one that is ready if left out.",
                nullable=True,
                default=None,
            ),
            **_TABLE,
            **_TEST_SPLIT,
        },
    },
    "ImageFolder": {
        "help": "A folder of the operator's: a folder of images for each class, in train/, val/ and test/ or not split; or images with a table of labels.",
        "args": {"root": name("The folder, below TRAINYARD_DATASETS_DIR."), **_TEST_SPLIT},
    },
    "Tensors": {
        "help": "Arrays in an npz file of the operator's: x_train, y_train, x_test, y_test; or x and y.",
        "args": {"file": name("The file, below TRAINYARD_DATASETS_DIR."), **_TEST_SPLIT},
    },
    "Table": {
        "help": "A CSV or Parquet table of the operator's.",
        "args": {"file": name("The file, below TRAINYARD_DATASETS_DIR."), **_TABLE, **_TEST_SPLIT},
    },
    "Digits": {"help": "scikit-learn's 8x8 digits; needs no download.", "args": {}, "facts": _facts((1, 8, 8), 10, 1437, 360)},
    "FakeData": {
        "help": "Random images and labels; the test split is a fifth as large, drawn after the training images.",
        "args": {
            "size": integer("Training images.", 1, maximum=1_000_000, default=1000),
            "image_size": {
                "type": "ints",
                "length": 3,
                "minimum": 1,
                "default": [3, 224, 224],
                "help": "Channels (1 or 3), height, width.",
            },
            "num_classes": integer("Labels are drawn from 0 to one less.", 1, default=10),
            "random_offset": integer("Added to an image's index to seed it.", 0, default=0),
        },
    },
}

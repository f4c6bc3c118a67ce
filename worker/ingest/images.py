"""Folders of images: a folder for each class, as torchvision's ImageFolder has it."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from service.spec.content import Content, Split
from worker.ingest.flaws import Flaws
from worker.ingest.reading import MAX_CLASSES

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Those that torchvision's ImageFolder reads."""
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
"""Readers of Pillow's that are let near: each format more is one more parser that a hostile file can talk to."""
MAX_PIXELS = 50_000_000
"""Of one image: a square of 7,071 pixels a side, 150 MB in memory."""
_GREY = ("1", "L")
_COLOUR = ("P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB", "HSV")
SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Folders, files and values that name a split."""


@dataclass(frozen=True)
class Labelled:
    """One image: its file below the folder, its split, and what stands beside it (a class's number, or numbers)."""

    file: str
    split: Split
    label: int | tuple[float, ...]


class NotAnImage(ValueError):
    """A file that is no image, or one that is not read; the text says which."""


def opened(path: Path, mode: str | None = None) -> Image.Image:
    """The image in a file, decoded whole, as mode `L` or `RGB` (of itself where None). Raises NotAnImage."""
    return decoded(path.read_bytes(), mode)


def decoded(data: bytes, mode: str | None = None) -> Image.Image:
    """The same of a file's bytes. Raises NotAnImage."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of Pillow's, a warning of a broken or huge image is reason enough
            warnings.simplefilter("ignore", DeprecationWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise NotAnImage(f"{image.width} by {image.height} pixels are more than {MAX_PIXELS:,}")
                if image.mode not in _GREY and image.mode not in _COLOUR:
                    raise NotAnImage(f"its pixels are of mode {image.mode}; 8 bits for each channel are read")
                image.load()
                return image.convert(mode or ("L" if image.mode in _GREY else "RGB"))
    except UnidentifiedImageError as error:
        raise NotAnImage("this is no image, or of a kind that is not read") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Warning) as error:
        if isinstance(error, NotAnImage):
            raise
        raise NotAnImage(f"it cannot be decoded: {error}") from error


def class_folders(folder: Path) -> dict[Split, Path]:
    """The folder of each split; all of it is `train` where no folder names one."""
    named = {SPLITS[path.name.lower()]: path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in SPLITS}
    return named if "train" in named else {"train": folder}


def in_class_folders(folder: Path, flaws: Flaws) -> tuple[tuple[str, ...], list[Labelled]]:
    """Classes in order of their names, and every image in torchvision's order: class by class, each by path."""
    splits = class_folders(folder)
    names = {split: sorted(path.name for path in place.iterdir() if path.is_dir()) for split, place in splits.items()}
    classes = tuple(names["train"])
    if splits["train"] != folder:
        extra = [path.name for path in folder.iterdir() if path.name.lower() not in SPLITS]
        for name in sorted(extra)[:5]:
            flaws.add(
                "unexpected", "It stands beside train/ and belongs to no split.", entry=name, suggestion="Use train/, val/ and test/."
            )
    if len(classes) < 2:
        flaws.add(
            "no_classes",
            f"There {'is one class folder' if classes else 'are no class folders'}; a classifier needs two.",
            entry=below(splits["train"], folder),
            suggestion="Put each class's images into a folder of its own: train/cat/1.png, train/dog/2.png.",
        )
    count_classes(classes, flaws)
    numbers = {name: at for at, name in enumerate(classes)}
    found: list[Labelled] = []
    for split, place in splits.items():
        for path in sorted(place.iterdir()):
            if path.is_file():
                flaws.add(
                    "unexpected",
                    "It stands beside the class folders.",
                    entry=below(path, folder),
                    suggestion="Remove it, or put it into one.",
                )
        for name in names[split]:
            if name not in numbers:
                flaws.add("unknown_class", f"Class {name} is not among those in train/.", entry=below(place / name, folder))
                continue
            files = list(_files(place / name, folder, flaws))
            if not files and split == "train":
                flaws.add(
                    "empty_class",
                    f"Class {name} has no image.",
                    entry=below(place / name, folder),
                    suggestion="Add images, or remove the folder.",
                )
            found.extend(Labelled(file, split, numbers[name]) for file in files)
    return classes, found


def count_classes(classes: Sequence[str], flaws: Flaws) -> None:
    """Note where there are too many."""
    if len(classes) > MAX_CLASSES:
        flaws.add(
            "too_many_classes",
            f"There are {len(classes):,} classes; {MAX_CLASSES:,} are the most.",
            suggestion="Join some, or predict numbers.",
        )


def _files(place: Path, folder: Path, flaws: Flaws) -> Iterator[str]:
    # torchvision's order: a folder's own files before those of the folders in it
    for path in (Path(inside, name) for inside, _, names in sorted(os.walk(place)) for name in sorted(names)):
        if path.suffix.lower() not in EXTENSIONS:
            flaws.add(
                "not_an_image", f"`{path.suffix or 'no ending'}` is no image's ending.", entry=below(path, folder), suggestion="Remove it."
            )
            continue
        yield below(path, folder)


def below(path: Path, folder: Path) -> str:
    """A path as it is called in a folder, with slashes."""
    return path.relative_to(folder).as_posix()


@dataclass
class _Seen:
    """What the images have in common, and how often the training pixels have each value, [channel, value]."""

    modes: set[str] = field(default_factory=set)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    values: Any = field(default_factory=lambda: np.zeros((3, 256), np.int64))

    def add(self, image: Image.Image, *, trains: bool) -> None:
        self.modes.add(image.mode)
        self.sizes.add((image.height, image.width))
        if trains:
            self.values += np.array(image.convert("RGB").histogram()).reshape(3, 256)


def looked_at(
    folder: Path, images: Sequence[Labelled], flaws: Flaws
) -> tuple[tuple[int | None, ...], tuple[float, ...], tuple[float, ...]]:
    """Every image decoded: (shape, mean and standard deviation of the training pixels). Notes those that cannot be."""
    seen = _Seen()
    for each in images:
        try:
            seen.add(opened(folder / each.file), trains=each.split == "train")
        except NotAnImage as error:
            flaws.add(
                "not_an_image", f"It cannot be read: {error}.", entry=each.file, suggestion="Remove it, or save it again as PNG or JPEG."
            )
    channels = 1 if seen.modes == {"L"} else 3
    size = next(iter(seen.sizes)) if len(seen.sizes) == 1 else (None, None)
    if not seen.values.any():
        return (channels, *size), (), ()
    shares, levels = seen.values / seen.values.sum(1, keepdims=True), np.arange(256) / 255
    mean = shares @ levels
    std = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0))
    return (channels, *size), _rounded(mean[:channels]), _rounded(std[:channels])


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def counted(images: Sequence[Labelled], classes: Sequence[str]) -> tuple[dict[Split, int], dict[str, dict[Split, int]]]:
    """(samples of each split, samples of each class by split); a sample counts for each label that it has."""
    sizes: dict[Split, int] = {}
    counts: dict[str, dict[Split, int]] = {name: {} for name in classes}
    for each in images:
        sizes[each.split] = sizes.get(each.split, 0) + 1
        labels = (each.label,) if isinstance(each.label, int) else tuple(at for at, value in enumerate(each.label) if value == 1)
        for at in labels:
            counts[classes[at]][each.split] = counts[classes[at]].get(each.split, 0) + 1
    return sizes, counts


def loose(folder: Path, flaws: Flaws) -> list[Labelled]:
    """The images of a folder without class folders, in order of their names; their label is none."""
    return [Labelled(file, "train", 0) for file in _files(folder, folder, flaws)]


def inspect_images(folder: Path, flaws: Flaws) -> Content:
    """Images without labels, decoded whole."""
    images = loose(folder, flaws)
    shape, mean, std = looked_at(folder, images, flaws)
    return Content(
        layout="images",
        places={"train": (".",)},
        samples="images",
        shape=shape,
        labelled=False,
        sizes={"train": len(images)},
        mean=mean,
        std=std,
    )


def inspect_class_folders(folder: Path, flaws: Flaws) -> Content:
    """A folder for each class, decoded whole."""
    classes, images = in_class_folders(folder, flaws)
    shape, mean, std = looked_at(folder, images, flaws)
    sizes, counts = counted(images, classes)
    return Content(
        layout="class_folders",
        places={split: (below(place, folder),) for split, place in class_folders(folder).items() if split in sizes},
        samples="images",
        shape=shape,
        labels="class",
        classes=classes,
        sizes=sizes,
        counts=counts,
        mean=mean,
        std=std,
    )

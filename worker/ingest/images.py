"""Folders of images: a folder for each class as torchvision's ImageFolder has it, or one table that names each file's labels."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
            entry=_below(splits["train"], folder),
            suggestion="Put each class's images into a folder of its own: train/cat/1.png, train/dog/2.png.",
        )
    _count(classes, flaws)
    numbers = {name: at for at, name in enumerate(classes)}
    found: list[Labelled] = []
    for split, place in splits.items():
        for path in sorted(place.iterdir()):
            if path.is_file():
                flaws.add(
                    "unexpected",
                    "It stands beside the class folders.",
                    entry=_below(path, folder),
                    suggestion="Remove it, or put it into one.",
                )
        for name in names[split]:
            if name not in numbers:
                flaws.add("unknown_class", f"Class {name} is not among those in train/.", entry=_below(place / name, folder))
                continue
            files = list(_files(place / name, folder, flaws))
            if not files and split == "train":
                flaws.add(
                    "empty_class",
                    f"Class {name} has no image.",
                    entry=_below(place / name, folder),
                    suggestion="Add images, or remove the folder.",
                )
            found.extend(Labelled(file, split, numbers[name]) for file in files)
    return classes, found


def _count(classes: Sequence[str], flaws: Flaws) -> None:
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
                "not_an_image", f"`{path.suffix or 'no ending'}` is no image's ending.", entry=_below(path, folder), suggestion="Remove it."
            )
            continue
        yield _below(path, folder)


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


@dataclass
class _Seen:
    """What the images have in common, and sums over the training pixels."""

    modes: set[str] = field(default_factory=set)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    pixels: int = 0
    sums: Any = 0
    squares: Any = 0

    def add(self, image: Image.Image, *, trains: bool) -> None:
        self.modes.add(image.mode)
        self.sizes.add((image.height, image.width))
        if trains:
            values = np.asarray(image.convert("RGB"), dtype=np.uint8).reshape(-1, 3).astype(np.float64) / 255
            self.pixels += len(values)
            self.sums = self.sums + values.sum(0)
            self.squares = self.squares + (values**2).sum(0)


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
    if not seen.pixels:
        return (channels, *size), (), ()
    mean = seen.sums / seen.pixels
    std = np.sqrt(np.maximum(seen.squares / seen.pixels - mean**2, 0))
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


def inspect_class_folders(folder: Path, flaws: Flaws) -> Content:
    """A folder for each class, decoded whole."""
    classes, images = in_class_folders(folder, flaws)
    shape, mean, std = looked_at(folder, images, flaws)
    sizes, counts = counted(images, classes)
    return Content(
        layout="class_folders",
        places={split: (_below(place, folder),) for split, place in class_folders(folder).items() if split in sizes},
        samples="images",
        shape=shape,
        labels="class",
        classes=classes,
        sizes=sizes,
        counts=counts,
        mean=mean,
        std=std,
    )


FILE_COLUMNS = ("filename", "file_name", "file", "image", "image_path", "path")
LABEL_COLUMNS = ("label", "class", "target", "category")
SPLIT_COLUMNS = ("split", "subset", "partition")


def in_a_table(
    folder: Path, columns: Mapping[str, Sequence[Any]], table: str, flaws: Flaws
) -> tuple[Heads, str, tuple[str, ...], list[Labelled]]:
    """(its columns, what the labels are, their names, every image in the table's order) of a table with a column of files.

    One column of labels names classes; several hold a 0 or 1 each, or numbers.
    """
    heads = Heads.of(columns)
    if heads.file is None:
        flaws.add(
            "no_files",
            f"No column names the images; there are {', '.join(columns)}.",
            entry=table,
            suggestion=f"Call it {FILE_COLUMNS[0]}.",
        )
        return heads, "class", (), []
    if not heads.labels:
        flaws.add("no_labels", "No column holds labels.", entry=table, suggestion="Add a column `label`.")
        return heads, "class", (), []
    rows = [_Row(table, at, str(file)) for at, file in enumerate(columns[heads.file])]
    splits = [_split(row, columns[heads.split][row.at] if heads.split else "train", flaws) for row in rows]
    kind, classes, labels = _labels(rows, {name: columns[name] for name in heads.labels}, flaws)
    there = _with_files(folder, rows, table, flaws)
    found = [
        Labelled(row.file, split, label)
        for row, split, label in zip(rows, splits, labels, strict=True)
        if row in there and label is not None
    ]
    return heads, kind, classes, found


@dataclass(frozen=True)
class Heads:
    """Which column of a table names the images, which each row's split, and which hold labels."""

    file: str | None
    split: str | None
    labels: tuple[str, ...]

    @classmethod
    def of(cls, columns: Iterable[str]) -> Heads:
        """By the names that people give them."""
        named = {name.strip().lower(): name for name in columns}
        file = next((named[name] for name in FILE_COLUMNS if name in named), None)
        split = next((named[name] for name in SPLIT_COLUMNS if name in named), None)
        return cls(file, split, tuple(name for name in columns if name not in (file, split)))


@dataclass(frozen=True)
class _Row:
    """A row of a table of labels."""

    table: str
    at: int
    file: str

    @property
    def name(self) -> str:
        return f"{self.table}, row {self.at + 1}"


def _split(row: _Row, value: Any, flaws: Flaws) -> Split:
    named = SPLITS.get(str(value).strip().lower())
    if named is None:
        flaws.add("unknown_split", f"`{value}` names no split.", entry=row.name, suggestion="Use train, val or test.")
    return named or "train"


def _labels(rows: Sequence[_Row], columns: Mapping[str, Sequence[Any]], flaws: Flaws) -> tuple[str, tuple[str, ...], list[Any]]:
    missing = [(row, name) for row in rows for name, values in columns.items() if _is_missing(values[row.at])]
    for row, name in missing:
        flaws.add("no_label", f"The label in column {name} is missing.", entry=row.name, suggestion="Fill it in, or remove the row.")
    if missing:
        return "class", (), [None] * len(rows)
    if len(columns) == 1:
        (name, values) = next(iter(columns.items()))
        if all(isinstance(value, float) for value in values):
            return "numbers", (name,), [(float(value),) for value in values]
        classes = tuple(sorted({str(value) for value in values}))
        _count(classes, flaws)
        numbers = {each: at for at, each in enumerate(classes)}
        return "class", classes, [numbers[str(value)] for value in values]
    for name, values in columns.items():
        wrong = next((row for row in rows if isinstance(values[row.at], str) or not math.isfinite(float(values[row.at]))), None)
        if wrong is not None:
            flaws.add(
                "not_a_number",
                f"Column {name} holds `{values[wrong.at]}`; where there are several columns of labels each holds numbers.",
                entry=wrong.name,
                suggestion="Write 0 or 1 for each label, or keep one column of class names.",
            )
            return "class", (), [None] * len(rows)
    labels = [tuple(float(values[row.at]) for values in columns.values()) for row in rows]
    ones = all(value in (0.0, 1.0) for label in labels for value in label)
    return ("several" if ones else "numbers"), tuple(columns), labels


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _with_files(folder: Path, rows: Sequence[_Row], table: str, flaws: Flaws) -> set[_Row]:
    """The rows whose file is there, each file once."""
    named: set[str] = set()
    there = set()
    for row in rows:
        parts = Path(row.file).parts
        if row.file.startswith("/") or ".." in parts or not (folder / row.file).is_file():
            flaws.add("no_file", f"There is no file {row.file[:200]}.", entry=row.name, suggestion="Paths count from the table's folder.")
        elif row.file in named:
            flaws.add("duplicate", f"{row.file} is named twice.", entry=row.name)
        else:
            there.add(row)
        named.add(row.file)
    for path in sorted(folder.rglob("*")):
        name = _below(path, folder)
        if path.is_file() and name != table and name not in named:
            flaws.add("no_label", f"{table} does not name it.", entry=name, suggestion="Add a row, or remove the file.")
    return there

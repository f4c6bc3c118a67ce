"""IDX files, as MNIST has them: a magic number, sizes as big-endian int32, bytes (LeCun, "THE IDX FILE FORMAT")."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from service.spec.content import Content, Split
from worker.ingest.archives import Limits
from worker.ingest.arrays import spread
from worker.ingest.flaws import Flaws, bad

PARTS: dict[Split, str] = {"train": "train", "test": "t10k"}
MAX_BYTES = 8 * 2**30
MAX_DIMENSIONS = 8


class NotIdx(ValueError):
    """A file that is no whole IDX file of bytes."""


def names_of(part: str) -> tuple[str, str]:
    """The files of a part: images, labels."""
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def idx_folder(top: Path) -> Path:
    """Where the IDX files lie."""
    name = names_of("train")[0]
    return next(path.parent for path in sorted(top.rglob("*")) if path.name.removesuffix(".gz") == name)


def read(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of an IDX file, which may lie gzipped beside. Raises NotIdx, FileNotFoundError, OSError."""
    zipped = path.with_name(f"{path.name}.gz")
    data = path.read_bytes() if path.exists() else _unpacked(zipped)
    dimensions = data[3] if len(data) > 3 and data[:3] == b"\0\0\x08" else 0
    if not 0 < dimensions <= MAX_DIMENSIONS or len(data) < 4 + 4 * dimensions:
        raise NotIdx(f"{path.name} is no IDX file of bytes")
    shape = np.frombuffer(data, ">i4", count=dimensions, offset=4).tolist()
    if min(shape) < 0 or len(data) != 4 + 4 * dimensions + math.prod(shape):
        raise NotIdx(f"{path.name} is no whole IDX file: its sizes are {shape}, and it has {len(data):,} bytes")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _unpacked(path: Path) -> bytes:
    limits = Limits()
    most = min(MAX_BYTES, max(limits.ratio_from_bytes, limits.ratio * path.stat().st_size))
    try:
        with gzip.open(path) as file:
            data = file.read(most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise NotIdx(f"{path.name} cannot be unpacked: {error}") from error
    if len(data) > most:
        raise NotIdx(f"{path.name} becomes more than {most:,} bytes: a decompression bomb")
    return data


def inspect_idx(top: Path, flaws: Flaws) -> Content:
    """Images and labels under MNIST's names. Raises BadData."""
    folder = idx_folder(top)
    splits = {}
    for split, part in PARTS.items():
        try:
            images, labels = (read(folder / name) for name in names_of(part))
        except FileNotFoundError:
            if split == "train":
                missing = " and ".join(names_of(part))
                raise bad("no_samples", f"{missing} have to be there, as they are or gzipped.") from None
            continue
        except NotIdx as error:
            raise bad("broken_idx", f"{error}.", entry=part, suggestion="Fetch it again.") from error
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
            raise bad("lengths_differ", f"Images are {list(images.shape)}, labels {list(labels.shape)}.", entry=part)
        splits[split] = images, labels
    train, labels = splits["train"]
    known = int(max(each.max() for _, each in splits.values())) + 1
    classes = tuple(str(at) for at in range(known))
    counts: dict[str, dict[Split, int]] = {name: {} for name in classes}
    for split, (_, found) in splits.items():
        for at, count in enumerate(np.bincount(found, minlength=known)):
            counts[classes[at]][split] = int(count)
    for name, each in counts.items():
        if not each["train"]:
            flaws.add("empty_class", f"Class {name} has no training sample.")
    mean, std = spread(train.reshape(-1, 1))
    return Content(
        layout="idx",
        places={split: _places(folder, top, PARTS[split]) for split in splits},
        samples="images",
        shape=(1, *train.shape[1:]),
        labels="class",
        classes=classes,
        sizes={split: len(found) for split, (_, found) in splits.items()},
        counts=counts,
        mean=mean,
        std=std,
    )


def _places(folder: Path, top: Path, part: str) -> tuple[str, ...]:
    return tuple((folder / name).relative_to(top).as_posix() for name in names_of(part))

"""npz files: arrays of samples and labels under the names that people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np

from service.spec.content import Content, Split
from worker.ingest.flaws import Flaws, bad
from worker.ingest.names import is_readable
from worker.ingest.reading import MAX_CLASSES

Array = np.ndarray[Any, Any]

_SAMPLES = ("x", "images", "inputs", "data", "features", "samples")
_LABELS = ("y", "labels", "targets", "label", "target")
_SPLIT_WORDS: dict[Split, tuple[str, ...]] = {"train": ("", "train"), "validation": ("val", "valid", "validation"), "test": ("test",)}
_CLASSES = ("classes", "class_names")
MAX_DIMENSIONS = 8


def read_arrays(folder: Path) -> dict[str, Array]:
    """The arrays of an unpacked npz, by name, mapped into memory. Raises BadData."""
    arrays = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix().removesuffix(".npy")
        try:
            with np.errstate(over="raise"):  # of sizes, which it would only warn of
                array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError, SyntaxError, ArithmeticError, TokenError) as error:
            detail = f"It is no plain array: {str(error)[:200]}"
            raise bad("broken_array", detail, entry=name, suggestion="Save arrays of numbers by numpy.savez.") from error
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            raise bad("broken_array", "It holds Python objects, which are not read.", entry=name, suggestion="Save arrays of numbers.")
        if 0 in array.shape[1:]:
            raise bad("samples", f"It is {list(array.shape)}: rows without a number.", entry=name, suggestion="Leave it out.")
        arrays[name] = array
    return arrays


def names_of(arrays: Mapping[str, Array]) -> tuple[dict[Split, tuple[str, ...]], tuple[str, ...] | None]:
    """(the arrays of samples and labels of each split, class names where they are given). Raises BadData.

    Where no split has labels, they are those of the samples alone.
    """
    folded = {name.lower(): name for name in arrays}
    found: dict[Split, tuple[str, ...]] = {}
    labelled = any(_named(folded, _LABELS, words) for words in _SPLIT_WORDS.values())
    used: set[str] = set()
    for split, words in _SPLIT_WORDS.items():
        pair = tuple(_named(folded, stems, words) for stems in ((_SAMPLES, _LABELS) if labelled else (_SAMPLES,)))
        if set(pair) == {None}:
            continue
        if None in pair:
            what = "samples" if pair[0] is None else "labels"
            raise bad(
                "no_" + what, f"The {split} split has no {what}.", suggestion="Name arrays x_train, y_train, x_test, y_test; or x and y."
            )
        found[split] = tuple(map(str, pair))
        used |= set(found[split])
    names = next((folded[each] for each in _CLASSES if each in folded), None)
    left = sorted(set(arrays) - used - ({names} if names else set()))
    if "train" not in found:
        raise bad(
            "no_samples",
            f"No arrays are called x and y, or x_train and y_train; there are {', '.join(left) or 'none'}.",
            suggestion="Rename them.",
        )
    if left:
        raise bad(
            "unexpected", "This array is neither samples nor labels of a split.", entry=left[0], suggestion="Remove it, or rename it."
        )
    if names is None:
        return found, None
    if arrays[names].dtype.kind != "U" or arrays[names].ndim != 1:
        raise bad("class_names", "It has to be one list of words.", entry=names, suggestion="Save numpy.array(['cat', 'dog']).")
    if (hidden := next((str(each) for each in arrays[names] if not is_readable(str(each))), None)) is not None:
        raise bad("class_names", f"A name has characters that do not show: {hidden[:50]!a}.", entry=names, suggestion="Rename that class.")
    return found, tuple(str(each) for each in arrays[names])


def splits_of(arrays: Mapping[str, Array]) -> dict[Split, tuple[Array, Array]]:
    """Samples and labels of each split; zeros where there are no labels. Raises BadData."""
    named, _ = names_of(arrays)
    return {
        split: (arrays[samples], arrays[labels[0]] if labels else np.zeros(len(arrays[samples]), np.int64))
        for split, (samples, *labels) in named.items()
    }


def _named(folded: Mapping[str, str], stems: tuple[str, ...], words: tuple[str, ...]) -> str | None:
    for stem in stems:
        for word in words:
            for name in (f"{stem}_{word}", f"{word}_{stem}") if word else (stem,):
                if name in folded:
                    return folded[name]
    return None


def is_images(samples: Array) -> bool:
    """Whether samples are images: bytes [N, H, W], [N, H, W, C] or [N, C, H, W] with one channel or three."""
    return samples.dtype == np.uint8 and (
        samples.ndim == 3 or (samples.ndim == 4 and (samples.shape[3] in (1, 3) or samples.shape[1] in (1, 3)))
    )


def dtype_of(samples: Array) -> Literal["float32", "int64"]:
    """What numbers are trained as: whole ones stay whole."""
    return "float32" if samples.dtype.kind in "fb" else "int64"


def _span(parts: Sequence[Array]) -> tuple[int, int]:
    """The least and the most of whole numbers."""
    return min(int(each.min()) for each in parts), max(int(each.max()) for each in parts)


def channels_last(samples: Array) -> Array:
    """Images as [N, H, W, C]."""
    if samples.ndim == 3:
        return samples[:, :, :, None]
    return samples if samples.shape[3] in (1, 3) else samples.transpose(0, 2, 3, 1)


def inspect_arrays(folder: Path, flaws: Flaws) -> Content:
    """Samples and labels of an unpacked npz. Raises BadData."""
    held = read_arrays(folder)
    places, names = names_of(held)
    splits = splits_of(held)
    train, _ = splits["train"]
    for split, (samples, labels) in splits.items():
        _check(split, samples, labels, train)
    labelled = all(len(pair) > 1 for pair in places.values())
    by_split = {split: labels for split, (_, labels) in splits.items()}
    kind, classes = _labels(by_split, names, flaws) if labelled else (None, ())
    images = is_images(train)
    _check_numbers(splits, flaws)
    shape = train.shape[1:]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if images:
        last = channels_last(train)
        shape = (last.shape[3], last.shape[1], last.shape[2])
        values = last.reshape(-1, last.shape[3])
        mean, std = spread(values)
    counts: dict[str, dict[Split, int]] = {}
    if kind == "class":
        sums = {split: np.bincount(np.asarray(labels, np.int64), minlength=len(classes)) for split, labels in by_split.items()}
        counts = {name: {split: int(found[at]) for split, found in sums.items()} for at, name in enumerate(classes)}
        for name, each in counts.items():
            if not each["train"]:
                flaws.add("empty_class", f"Class {name} has no training sample.", suggestion="Number classes from 0 on, without gaps.")
    return Content(
        layout="arrays",
        places=dict(places),
        samples="images" if images else "numbers",
        shape=shape,
        dtype="float32" if images else dtype_of(train),
        span=None if images or dtype_of(train) == "float32" else _span([samples for samples, _ in splits.values()]),
        labels=kind,
        labelled=labelled,
        classes=classes,
        sizes={split: len(labels) for split, (_, labels) in splits.items()},
        counts=counts,
        mean=mean,
        std=std,
    )


def _check(split: Split, samples: Array, labels: Array, train: Array) -> None:
    if not 2 <= samples.ndim <= MAX_DIMENSIONS or samples.dtype.kind not in "uifb":
        detail = f"Samples are {samples.dtype} {list(samples.shape)}; they have to be numbers [N, ...]."
        raise bad("samples", detail, entry=split, suggestion="Save bytes [N, height, width], or float32 of any shape.")
    if not len(samples):
        raise bad("empty", "The split has no samples.", entry=split)
    if len(labels.shape) not in (1, 2) or labels.dtype.kind not in "uifb":
        raise bad("labels", f"Labels are {labels.dtype} {list(labels.shape)}; they have to be numbers [N] or [N, targets].", entry=split)
    if len(samples) != len(labels):
        raise bad("lengths_differ", f"There are {len(samples)} samples and {len(labels)} labels.", entry=split)
    if samples.shape[1:] != train.shape[1:] or samples.dtype != train.dtype:
        detail = f"Samples are {samples.dtype} {list(samples.shape[1:])}, in train {train.dtype} {list(train.shape[1:])}."
        raise bad("shapes_differ", detail, entry=split)


def _labels(labels: Mapping[Split, Array], names: tuple[str, ...] | None, flaws: Flaws) -> tuple[Any, tuple[str, ...]]:
    train = labels["train"]
    widths = {each.shape[1:] for each in labels.values()}
    if len(widths) > 1:
        raise bad("labels", "Labels of the splits are of different shapes.")
    if train.ndim == 2:
        ones = all(np.isin(each, (0, 1)).all() for each in labels.values())
        default = tuple(f"{'label' if ones else 'target'}_{at}" for at in range(train.shape[1]))
        return ("several" if ones else "numbers"), _fitting(names, default)
    if train.dtype.kind == "f":
        return "numbers", ("target",)
    least, most = min(int(each.min()) for each in labels.values()), max(int(each.max()) for each in labels.values())
    known = len(names) if names else most + 1
    if least < 0 or most >= min(known, MAX_CLASSES):
        wrong = least if least < 0 else most
        split = next(split for split, each in labels.items() if (np.asarray(each) == wrong).any())
        at = int(np.argmax(np.asarray(labels[split]) == wrong))
        flaws.add("label_out_of_range", f"Label {wrong} of sample {at} is not in 0 to {min(known, MAX_CLASSES) - 1}.", entry=split)
        raise bad("label_out_of_range", "Labels have to be class numbers from 0 on.", entry=split)
    return "class", names or tuple(str(at) for at in range(most + 1))


def _fitting(names: tuple[str, ...] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if names is not None and len(names) != len(default):
        raise bad("class_names", f"There are {len(names)} names for {len(default)} columns of labels.")
    return names or default


def _check_numbers(splits: Mapping[Split, tuple[Array, Array]], flaws: Flaws) -> None:
    for split, pair in splits.items():
        for what, array in zip(("sample", "label"), pair, strict=True):
            if array.dtype.kind != "f":
                continue
            wrong = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
            if wrong.any():
                detail = f"{int(wrong.sum())} {what}s hold NaN or infinity, the first of them number {int(wrong.argmax())}."
                flaws.add("not_finite", detail, entry=split, suggestion="Fill them in, or leave these samples out.")


def spread(values: Array, rows: int = 2**22) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of bytes, on the scale 0 to 1, some rows at a time."""
    sums, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for at in range(0, len(values), rows):
        part = values[at : at + rows].astype(np.float64) / 255
        sums += part.sum(0)
        squares += (part**2).sum(0)
    mean = sums / len(values)
    std = np.sqrt(np.maximum(squares / len(values) - mean**2, 0))
    return tuple(round(float(each), 6) for each in mean), tuple(round(float(each), 6) for each in std)

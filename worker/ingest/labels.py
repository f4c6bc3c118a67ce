"""Images whose labels stand in a table: its columns, told by their names, and each file's split and label."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.spec.content import Split
from worker.ingest.flaws import Flaws
from worker.ingest.images import SPLITS, Labelled, below, count_classes

FILE_COLUMNS = ("filename", "file_name", "file", "image", "image_path", "path")


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
        count_classes(classes, flaws)
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
        name = below(path, folder)
        if path.is_file() and name != table and name not in named:
            flaws.add("no_label", f"{table} does not name it.", entry=name, suggestion="Add a row, or remove the file.")
    return there

"""CSV and Parquet tables: columns with their kinds, read by pyarrow."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from service.spec.content import Column, Content, Split
from worker.ingest.archives import Limits, kind_of
from worker.ingest.flaws import Flaws, bad
from worker.ingest.images import SPLITS
from worker.ingest.labels import SPLIT_COLUMNS
from worker.ingest.names import is_readable
from worker.ingest.reading import BLOCK_BYTES, ENDINGS, MISSING

MAX_COLUMNS = 10_000
MAX_HEAD_BYTES = 2**20
"""Of a CSV's first line."""
MAX_VALUES, MAX_VALUES_IN_ALL = 1000, 100_000
"""Distinct words of a column that still names categories, and of all columns together."""


def read_table(path: Path) -> pa.Table:
    """The table in a file. Raises BadData."""
    kind = kind_of(path)
    name = path.name
    try:
        if kind == "parquet":
            described = pq.read_metadata(path)
            _check_columns(described.schema.to_arrow_schema().names, name)
            _check_rows(described, path)
            return pq.read_table(path)
        if kind != "text":
            raise bad("unknown_format", f"This is a {kind} file, and no table.", entry=name, suggestion="Send CSV or Parquet.")
        _check_columns(_head(path), name)
        convert = pcsv.ConvertOptions(null_values=list(MISSING), strings_can_be_null=True, quoted_strings_can_be_null=True)
        return pcsv.read_csv(path, convert_options=convert, read_options=pcsv.ReadOptions(block_size=BLOCK_BYTES))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, pa.ArrowTypeError, UnicodeDecodeError, csv.Error) as error:
        first = str(error).splitlines()[0][:300]
        raise bad(
            "broken_table", f"It cannot be read: {first}", entry=name, suggestion="Save it again as CSV (UTF-8, comma) or Parquet."
        ) from error
    except OSError as error:
        if error.errno is not None:  # the machine's trouble, not the file's
            raise
        raise bad("broken_table", f"It cannot be read: {error}", entry=name, suggestion="Make it again, and send it again.") from error


def _head(path: Path) -> list[str]:
    """The names in a CSV's first line. Raises BadData."""
    with path.open("rb") as file:
        line = file.readline(MAX_HEAD_BYTES + 1)
    if len(line) > MAX_HEAD_BYTES:
        raise bad(
            "too_many_columns",
            f"Its first line is longer than {MAX_HEAD_BYTES:,} bytes.",
            entry=path.name,
            suggestion="Send fewer columns.",
        )
    if b"\0" in line:
        raise bad(
            "unknown_format",
            "This is neither an archive nor a table.",
            entry=path.name,
            suggestion="Send a zip, tar, npz, CSV or Parquet file.",
        )
    names = next(csv.reader([line.decode("utf-8-sig")]), [])
    if not names:
        raise bad("broken_table", "Its first line names no columns.", entry=path.name, suggestion="Begin with a line of column names.")
    return names


def _check_columns(names: Sequence[str], entry: str) -> None:
    if len(names) > MAX_COLUMNS:
        raise bad(
            "too_many_columns",
            f"It has {len(names):,} columns; {MAX_COLUMNS:,} are the most.",
            entry=entry,
            suggestion="Send fewer columns.",
        )
    seen: set[str] = set()
    for name in names:
        if not name.strip():
            raise bad("unnamed_column", "A column has no name.", entry=entry, suggestion="Give every column a name.")
        if not is_readable(name):
            detail = f"The name of a column has characters that do not show: {name[:50]!a}."
            raise bad("unsafe_name", detail, entry=entry, suggestion="Rename it.")
        if name in seen:
            raise bad("duplicate_column", f"Two columns are called {name}.", entry=entry, suggestion="Rename one.")
        seen.add(name)


def _check_rows(described: pq.FileMetaData, path: Path) -> None:
    """A column of one value takes no bytes in Parquet, however many rows it has; in memory each row takes its own. Raises BadData."""
    limits, size = Limits(), path.stat().st_size
    groups = (described.row_group(at) for at in range(described.num_row_groups))
    values = sum(group.column(at).num_values for group in groups for at in range(group.num_columns))
    if values > max(limits.ratio_from_bytes, limits.ratio * size):
        detail = f"{size:,} bytes become {values:,} values: a decompression bomb."
        raise bad("bomb", detail, entry=path.name, suggestion="Send columns that differ, or fewer rows.")


def label_table(top: Path) -> Path:
    """The table that names the labels of images. Raises BadData."""
    found = sorted(path for path in top.iterdir() if path.suffix.lower() in ENDINGS)
    if len(found) > 1:
        raise bad("several_tables", f"There are several tables: {', '.join(path.name for path in found[:5])}.", suggestion="Keep one.")
    return found[0]


def as_columns(table: pa.Table) -> dict[str, list[Any]]:
    """The table as lists."""
    return {name: table.column(name).to_pylist() for name in table.column_names}


def tables_in(place: Path) -> dict[Split, Path]:
    """The files of a table: itself, or one for each split. Raises BadData."""
    if place.is_file():
        return {"train": place}
    files = sorted(path for path in place.iterdir() if path.is_file())
    named = {SPLITS[path.stem.lower()]: path for path in files if path.stem.lower() in SPLITS}
    if "train" not in named and len(files) > 1:
        names = ", ".join(path.name for path in files[:5])
        detail = f"There are several tables, and none is called train: {names}."
        raise bad("several_tables", detail, suggestion="Send one, or call them train, val and test.")
    return named if "train" in named else {"train": files[0]}


def inspect_table(place: Path, flaws: Flaws) -> Content:
    """Every column of a table, over all its splits. Raises BadData."""
    files = tables_in(place)
    parts = {split: read_table(path) for split, path in files.items()}
    places: dict[Split, tuple[str, ...]] = {split: (path.name,) for split, path in files.items()}
    names = parts["train"].column_names
    for split, part in parts.items():
        if part.column_names != names:
            differing = sorted(set(names) ^ set(part.column_names))[:5]
            detail = f"Its columns are not those of train: {', '.join(differing) or 'their order differs'}."
            raise bad("columns_differ", detail, entry=split, suggestion="Give every split the same columns.")
    try:
        whole = pa.concat_tables(parts.values(), promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        detail = f"A column holds numbers in one split and words in another: {str(error).splitlines()[0][:300]}"
        raise bad("columns_differ", detail, suggestion="Give every split the same kinds of columns.") from error
    if whole.num_rows == 0:
        raise bad("empty", "The table has no rows.", suggestion="Send at least two.")
    sizes: dict[Split, int] = {split: part.num_rows for split, part in parts.items()}
    by_column = split_column(names) if len(parts) == 1 else None
    if by_column is not None:
        sizes = _sizes(whole.column(by_column), by_column, flaws)
    places = dict.fromkeys(sizes, places["train"]) if by_column else places
    room = MAX_VALUES_IN_ALL // max(1, len(names))
    columns = tuple(_column(name, whole.column(name), flaws, most=max(2, min(MAX_VALUES, room))) for name in names if name != by_column)
    _empty_rows(whole, flaws)
    return Content(layout="table", places=places, samples="rows", split_column=by_column, sizes=sizes, columns=columns)


def split_column(names: Sequence[str]) -> str | None:
    """The column that names each row's split."""
    return next((name for name in names if name.lower() in SPLIT_COLUMNS), None)


def _sizes(values: pa.ChunkedArray, name: str, flaws: Flaws) -> dict[Split, int]:
    sizes: dict[Split, int] = {}
    for each in pc.value_counts(values.cast(pa.string())).to_pylist():
        split = SPLITS.get(str(each["values"]).lower())
        if split is None:
            flaws.add("unknown_split", f"`{each['values']}` names no split.", entry=name, suggestion="Use train, val or test.")
        else:
            sizes[split] = sizes.get(split, 0) + each["counts"]
    return sizes


def _column(name: str, values: pa.ChunkedArray, flaws: Flaws, *, most: int) -> Column:
    kind, missing = values.type, values.null_count
    if pa.types.is_boolean(kind):
        values, kind = values.cast(pa.int8()), pa.int8()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numeric(name, values.cast(pa.float64()), whole=pa.types.is_integer(kind), flaws=flaws, most=most)
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if pa.types.is_null(kind):
        flaws.add("empty_column", "It has no value at all.", entry=name, suggestion="Remove the column.")
        return Column(name=name, kind="other", missing=missing)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        flaws.add("not_text", "Its values are no text in UTF-8.", entry=name, suggestion="Save the table again as UTF-8.")
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return Column(name=name, kind="other", missing=missing)
    _mixed(name, values, flaws)
    distinct = pc.unique(values.drop_null())
    if len(distinct) > most:
        return Column(name=name, kind="text", missing=missing)
    return Column(name=name, kind="categorical", missing=missing, values=tuple(sorted(distinct.to_pylist())))


def _numeric(name: str, values: pa.ChunkedArray, *, whole: bool, flaws: Flaws, most: int) -> Column:
    finite = pc.is_finite(values)
    infinite = pc.sum(pc.is_inf(values)).as_py() or 0
    if infinite:
        at = pc.index(pc.is_inf(values), True).as_py()
        flaws.add(
            "not_finite", f"{infinite} of its numbers are infinite, the first in row {at + 1}.", entry=name, suggestion="Leave them empty."
        )
    numbers = values.filter(finite)
    if not len(numbers):
        flaws.add("empty_column", "It has no number at all.", entry=name, suggestion="Remove the column.")
        return Column(name=name, kind="other", missing=len(values))
    span = pc.min_max(numbers).as_py()
    whole = whole or bool(pc.all(pc.equal(numbers, pc.floor(numbers))).as_py())
    distinct = pc.unique(numbers).to_pylist() if whole else []
    words = tuple(str(int(each)) for each in sorted(distinct)) if 0 < len(distinct) <= most else None
    missing = len(values) - len(numbers)
    return Column(name=name, kind="numeric", missing=missing, whole=whole, values=words, least=span["min"], most=span["max"])


def _mixed(name: str, values: pa.ChunkedArray, flaws: Flaws) -> None:
    """A column of words most of which are numbers was meant to be one of numbers."""
    pattern = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
    numbers = pc.match_substring_regex(values, pattern)
    count = pc.sum(numbers).as_py() or 0
    given = len(values) - values.null_count
    if not count or count == given or 2 * count < given:
        return
    at = pc.index(pc.fill_null(numbers, True), False).as_py()
    detail = f"{count} of its {given} values are numbers; row {at + 1} has `{str(values[at].as_py())[:50]}`."
    flaws.add("mixed_types", detail, entry=name, suggestion="Correct the value, or leave it empty.")


def _empty_rows(table: pa.Table, flaws: Flaws) -> None:
    empty = None
    for name in table.column_names:
        column = table.column(name)
        gone = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
        empty = gone if empty is None else pc.and_(empty, gone)
    count = pc.sum(empty).as_py() or 0
    if count:
        detail = f"{count} rows are empty, the first of them row {pc.index(empty, True).as_py() + 1}."
        flaws.add("empty_rows", detail, suggestion="Remove them.")


def rows_of(place: Path, content: Content, split: Split) -> pa.Table:
    """The rows of a split of a table that was looked at before. Raises BadData."""
    table = read_table(place / content.places[split][0])
    if content.split_column is None:
        return table
    words = [word for word, named in SPLITS.items() if named == split]
    told = pc.utf8_lower(pc.utf8_trim_whitespace(table.column(content.split_column).cast(pa.string())))
    return table.filter(pc.is_in(told, value_set=pa.array(words)))


def numbers_of(table: pa.Table, column: Column) -> Any:
    """A column as float64 [rows]: its numbers, NaN where one is unknown; of words their codes."""
    if column.kind == "categorical":
        return codes_of(table, column).astype(np.float64)
    values = table.column(column.name)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return values.cast(pa.float64()).to_numpy()


def codes_of(table: pa.Table, column: Column) -> Any:
    """The place of each value among the column's, int64 [rows]; -1 where it is unknown."""
    places = {word: at for at, word in enumerate(column.values or ())}
    if column.kind == "numeric":
        return np.array([-1 if value is None else places[str(int(value))] for value in table.column(column.name).to_pylist()])
    return np.array([places.get(value, -1) for value in table.column(column.name).to_pylist()])

"""Which columns of a table a spec takes for features and labels, and what a sample of it is then. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.spec.catalog import suggest
from service.spec.content import Column, Content
from service.spec.fixes import setting
from service.spec.verdict import Fault, SpecWarning

Labels = Literal["class", "several", "numbers"]


@dataclass(frozen=True)
class Columns:
    """The columns that are taken, in their order. `classes` names classes, labels or numbers."""

    features: tuple[Column, ...]
    labels: tuple[Column, ...]
    kind: Labels
    classes: tuple[str, ...]

    @property
    def is_scaled(self) -> bool:
        """Whether an earlier job says what numbers are scaled by."""
        return all(column.mean is not None and column.std is not None for column in self.features if column.kind == "numeric")

    @property
    def width(self) -> int:
        """Numbers of a sample: one for a numeric column, one for each value of a categorical one."""
        return sum(len(column.values or ()) if column.kind == "categorical" else 1 for column in self.features)


def taken(content: Content, arguments: Mapping[str, Any]) -> Columns:
    """The columns that a data set's arguments name. Raises LookupError where `faults` says why."""
    known = {column.name: column for column in content.columns}
    labels = tuple(known[name] for name in _named(arguments, "label_columns"))
    names = _named(arguments, "feature_columns") or [
        column.name for column in content.columns if _can_be_feature(column) and column not in labels
    ]
    kind = _kind(labels, arguments["labels"])
    classes = (labels[0].values or ()) if kind == "class" else tuple(column.name for column in labels)
    return Columns(tuple(known[name] for name in names), labels, kind, classes)


def _named(arguments: Mapping[str, Any], part: str) -> tuple[str, ...]:
    """The columns that are named; one may stand alone."""
    given = arguments[part]
    return (given,) if isinstance(given, str) else tuple(given or ())


def _can_be_feature(column: Column) -> bool:
    return column.kind in ("numeric", "categorical")


def _kind(labels: Sequence[Column], asked: Labels | None) -> Labels:
    """How labels are read: as asked; else words name classes, 0 and 1 in several columns are several labels, and the rest are numbers."""
    if asked is not None:
        return asked
    if not labels:
        raise LookupError("label_columns")
    if len(labels) == 1:
        return "class" if labels[0].kind == "categorical" or labels[0].values == ("0", "1") else "numbers"
    return "several" if all(column.values == ("0", "1") for column in labels) else "numbers"


def faults(content: Content, arguments: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the columns that a spec names."""
    names = [column.name for column in content.columns]
    if not arguments["label_columns"]:
        detail = "This data set is a table: the spec has to say which column is to be predicted."
        suggestion = f"Set dataset.label_columns, for example to [{names[-1]}]. There are {listed(names)}."
        return [Fault(pointer="/dataset/label_columns", code="no_label_columns", detail=detail, suggestion=suggestion)]
    found = [fault for part in ("label_columns", "feature_columns") for fault in _unknown(part, _named(arguments, part), names)]
    if found:
        return found
    return [*_labels(content, arguments), *_features(content, arguments)]


def listed(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _unknown(part: str, given: Sequence[str], names: Sequence[str]) -> Iterator[Fault]:
    for at, name in enumerate(given):
        if name in names:
            continue
        close = suggest(name, names)
        suggestion = (f"Did you mean `{close}`? " if close else "") + f"There are {listed(names)}."
        # one column may stand there without a list
        where = f"/dataset/{part}/{at}"
        fix = setting(where, close) if close and len(given) > 1 else None
        yield Fault(pointer=where, code="no_column", detail=f"There is no column {name}.", suggestion=suggestion, fix=fix)


def _labels(content: Content, arguments: Mapping[str, Any]) -> Iterator[Fault]:
    columns = taken(content, arguments)
    for at, column in enumerate(columns.labels):
        pointer = f"/dataset/label_columns/{at}"
        if column.missing:
            detail = f"{column.missing} rows have no {column.name}: what is to be predicted has to be known."
            yield Fault(pointer=pointer, code="label_missing", detail=detail, suggestion="Remove these rows, and upload the table again.")
        elif columns.kind == "class" and (column.values is None or len(column.values) < 2):
            detail = f"{column.name} has {'too many values for classes' if column.values is None else 'one value only'}."
            yield Fault(
                pointer=pointer, code="no_classes", detail=detail, suggestion="Predict another column, or set dataset.labels: numbers."
            )
        elif columns.kind != "class" and column.kind != "numeric":
            detail = f"{column.name} holds words, and no numbers."
            yield Fault(
                pointer=pointer, code="no_numbers", detail=detail, suggestion="Leave dataset.labels out, and name this column alone."
            )
        elif columns.kind == "several" and column.values != ("0", "1"):
            detail = f"{column.name} holds other numbers than 0 and 1."
            yield Fault(pointer=pointer, code="no_yes_or_no", detail=detail, suggestion="Leave dataset.labels out.")
    if columns.kind == "class" and len(columns.labels) > 1:
        detail = f"One column has the class; these are {len(columns.labels)}."
        yield Fault(pointer="/dataset/label_columns", code="several_classes", detail=detail, suggestion="Name one.")


def _features(content: Content, arguments: Mapping[str, Any]) -> Iterator[Fault]:
    columns = taken(content, arguments)
    for at, column in enumerate(columns.features):
        pointer = f"/dataset/feature_columns/{at}"
        if column in columns.labels:
            detail = f"{column.name} is to be predicted: it cannot be a feature as well."
            yield Fault(pointer=pointer, code="leak", detail=detail, suggestion="Leave it out.")
        elif not _can_be_feature(column):
            detail = f"{column.name} is neither numbers nor words of which there are few."
            yield Fault(pointer=pointer, code="no_feature", detail=detail, suggestion="Leave it out.")
    if not columns.features:
        detail = "No column is left to predict from."
        yield Fault(
            pointer="/dataset/feature_columns", code="no_features", detail=detail, suggestion="Upload a table that has more columns."
        )


def as_trained(content: Content, earlier: Content, arguments: Mapping[str, Any], scale: Mapping[str, tuple[float, float]]) -> Content:
    """The table as an earlier job's model takes it: words and classes are that job's, and numbers are scaled as its training rows said.

    `scale` has the mean and the standard deviation of that job's numeric features, `arguments` are that job's. A table that lacks one of its
    label columns has no labels.
    """
    columns = taken(earlier, arguments)
    wanted = {column.name: column for column in (*columns.features, *columns.labels)}
    found = tuple(_as_trained(each, wanted.get(each.name), scale) for each in content.columns)
    missing = _missing(content, columns.labels)
    return content.model_copy(update={"columns": (*found, *missing), "labelled": not missing})


def _missing(content: Content, columns: Sequence[Column]) -> tuple[Column, ...]:
    """Those that a table has not."""
    there = {column.name for column in content.columns}
    return tuple(column for column in columns if column.name not in there)


def _as_trained(column: Column, earlier: Column | None, scale: Mapping[str, tuple[float, float]]) -> Column:
    if earlier is None:
        return column
    mean, std = scale.get(column.name, (None, None))
    return column.model_copy(update={"kind": earlier.kind, "values": earlier.values, "mean": mean, "std": std})


def strangers(content: Content, earlier: Content, arguments: Mapping[str, Any], *, pointer: str) -> list[Fault]:
    """What keeps an earlier job's model from a table: features that are not there, columns of another kind, classes that it never saw.

    Labels need not be there. `pointer` is of what names the table.
    """
    there = {column.name: column for column in content.columns}
    columns, found = taken(earlier, arguments), []
    labels = () if _missing(content, columns.labels) else columns.labels
    for column in (*columns.features, *labels):
        mine = there.get(column.name)
        if mine is None or mine.kind != column.kind:
            what = "is not there" if mine is None else f"is {mine.kind}, and was {column.kind}"
            detail = f"The model was trained on a column {column.name}, which {what}."
            found.append(Fault(pointer=pointer, code="no_column", detail=detail, suggestion="Upload a table with the same columns."))
        elif columns.kind == "class" and column in labels and (new := set(mine.values or ()) - set(column.values or ())):
            detail = f"Column {column.name} has classes that the model never saw: {listed(sorted(new))}."
            found.append(Fault(pointer=pointer, code="unknown_class", detail=detail, suggestion="Leave these rows out."))
    return found


def unused(content: Content, arguments: Mapping[str, Any]) -> list[SpecWarning]:
    """Columns that nobody named, and that cannot be features."""
    if arguments["feature_columns"]:
        return []
    left = [
        column.name for column in content.columns if not _can_be_feature(column) and column.name not in _named(arguments, "label_columns")
    ]
    if not left:
        return []
    detail = f"Left out, as neither numbers nor words of which there are few: {listed(left)}."
    return [SpecWarning(pointer="/dataset/feature_columns", code="unused_columns", detail=detail, suggestion="Name the columns to use.")]

"""What differs between specs. Pure: rows by JSON Pointer, lists aligned, so that one layer more does not mark all behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from service.spec.catalog import load
from service.spec.faults import pointer

MOST_CELLS = 250_000
"""Of one alignment. Longer lists, once what is the same at both ends is set aside, are compared place by place."""
_GAP, _ANOTHER_TYPE, _ANOTHER_VALUE = 1.0, 1.6, 0.6


class Absent:
    """Nothing stands there in this spec."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One spec's value; `place` where it stands elsewhere in this one than the row's pointer says."""

    value: Any
    place: str | None = None

    @property
    def is_absent(self) -> bool:
        """Whether this spec has nothing there."""
        return self.value is ABSENT


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One row. `owner` names what the pointer leads into, such as the type of a layer."""

    pointer: str
    owner: str | None
    cells: Sequence[Cell]


@dataclass(frozen=True)
class _Found:
    """A value of one spec, and the way to it."""

    value: Any
    way: tuple[str | int, ...]

    def under(self, key: str | int) -> _Found:
        value = self.value
        known = key in value if isinstance(value, Mapping) else isinstance(value, Sequence) and isinstance(key, int) and key < len(value)
        return _Found(value[key] if known else ABSENT, (*self.way, key))


def differences(specs: Sequence[Mapping[str, Any]], *, without: frozenset[str] = frozenset()) -> list[Difference]:
    """Every place where not all the specs say the same, in the order of the first. `without` are pointers that are left out."""
    found = _compared([_Found(spec, ()) for spec in specs], owner=None)
    return [each for each in found if not any(each.pointer == left_out or each.pointer.startswith(f"{left_out}/") for left_out in without)]


def _compared(found: Sequence[_Found], *, owner: str | None) -> Iterator[Difference]:
    values = [each.value for each in found]
    if all(value == values[0] for value in values):
        return
    if all(isinstance(value, Mapping) for value in values) and len({value.get("type") for value in values}) == 1:
        for key in dict.fromkeys(key for value in values for key in value):
            yield from _compared([each.under(key) for each in found], owner=values[0].get("type", owner))
    elif all(_has_parts(value) for value in values):
        for row in _aligned(values):
            yield from _compared(
                [each.under(at) if at is not None else _Found(ABSENT, ()) for each, at in zip(found, row, strict=True)], owner=owner
            )
    else:
        yield _row(found, owner)


def _has_parts(value: Any) -> bool:
    """Whether a list is looked into: one of plain values, such as the mean of three channels, reads best as a whole."""
    return isinstance(value, list | tuple) and any(isinstance(each, Mapping | list | tuple) for each in value)


def _row(found: Sequence[_Found], owner: str | None) -> Difference:
    places = [pointer(each.way) for each in found]
    there = next(place for place, each in zip(places, found, strict=True) if each.value is not ABSENT)
    cells = [
        Cell(value=each.value, place=place if each.value is not ABSENT and place != there else None)
        for place, each in zip(places, found, strict=True)
    ]
    return Difference(pointer=there, owner=owner, cells=cells)


def _aligned(lists: Sequence[Sequence[Any]]) -> list[list[int | None]]:
    """Rows of places, one for each list: what belongs together stands in one row."""
    rows: list[list[int | None]] = [[at] for at in range(len(lists[0]))]
    for number, items in enumerate(lists[1:], start=1):
        standing = [next(lists[which][at] for which, at in enumerate(row) if at is not None) for row in rows]
        joined: list[list[int | None]] = []
        for old, new in _pairs(standing, items):
            joined.append([*(rows[old] if old is not None else [None] * number), new])
        rows = joined
    return rows


def _pairs(left: Sequence[Any], right: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    """The cheapest way to lay one list beside the other (Needleman and Wunsch 1970)."""
    first = _same(left, right)
    last = _same(left[first:][::-1], right[first:][::-1])
    middle = _cheapest(left[first : len(left) - last], right[first : len(right) - last])
    return [
        *((at, at) for at in range(first)),
        *((None if old is None else old + first, None if new is None else new + first) for old, new in middle),
        *((len(left) - at, len(right) - at) for at in range(last, 0, -1)),
    ]


def _same(left: Sequence[Any], right: Sequence[Any]) -> int:
    """How many items at the beginning are equal."""
    return next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), min(len(left), len(right)))


def _cheapest(left: Sequence[Any], right: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    if len(left) * len(right) > MOST_CELLS:
        return [(at if at < len(left) else None, at if at < len(right) else None) for at in range(max(len(left), len(right)))]
    costs = [[float(row + column) * _GAP for column in range(len(right) + 1)] for row in range(len(left) + 1)]
    for row, one in enumerate(left, start=1):
        for column, other in enumerate(right, start=1):
            aside = min(costs[row - 1][column], costs[row][column - 1]) + _GAP
            costs[row][column] = min(aside, costs[row - 1][column - 1] + _cost(one, other))
    found: list[tuple[int | None, int | None]] = []
    row, column = len(left), len(right)
    while row or column:
        if row and column and costs[row][column] == costs[row - 1][column - 1] + _cost(left[row - 1], right[column - 1]):
            row, column = row - 1, column - 1
            found.append((row, column))
        elif row and costs[row][column] == costs[row - 1][column] + _GAP:
            row -= 1
            found.append((row, None))
        else:
            column -= 1
            found.append((None, column))
    return found[::-1]


def _cost(one: Any, other: Any) -> float:
    if one == other:
        return 0.0
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return _ANOTHER_VALUE if one.get("type") == other.get("type") else _ANOTHER_TYPE
    return _ANOTHER_VALUE


@cache
def _defaults(kind: str) -> Mapping[str, Any]:
    """The defaults of whatever is called so."""
    groups = (group for group in load().values() if isinstance(group, Mapping))
    entry: Mapping[str, Any] = next((group[kind] for group in groups if "args" in group.get(kind, {})), {"args": {}})
    return {name: says.get("default") for name, says in entry["args"].items()}


def _chosen(kind: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    defaults = _defaults(kind)
    for name, each in value.items():
        if name != "type" and each not in (None, [], ()) and not (name in defaults and each == defaults[name]):
            yield name, each


def in_words(value: Any) -> str:
    """A value as a person reads it: what has a type as torch would write it, without what is the default anyway."""
    match value:
        case Absent():
            return ""
        case {"type": str(kind)} if len(value) > 1:
            return f"{kind}({', '.join(f'{name}={in_words(each)}' for name, each in _chosen(kind, value))})"
        case {"type": str(kind)}:
            return kind
        case list() | tuple():
            return f"[{', '.join(map(in_words, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{name}: {in_words(each)}' for name, each in value.items() if each is not None)}}}"
        case str():
            return value
        case _:
            return json.dumps(value)

"""The logged steps of a job: rows to whoever reads them, one flat list of numbers inside, because a hundred thousand small lists are slow to make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from pydantic_core import from_json

STEP_COLUMNS = ("step", "epoch", "train_loss", "lr")
Step = Sequence[float | None]
"""A logged step: its number since the job's start, the epoch that it was in (from 1), train_loss (None: no number), and the lr that it was made with."""
_WIDTH = len(STEP_COLUMNS)


class Steps(Sequence[Step]):
    """Rows, oldest first."""

    def __init__(self, flat: list[float | None]) -> None:
        self._flat = flat

    @classmethod
    def of(cls, rows: Iterable[Step]) -> Steps:
        """These rows; a number that is none is None."""
        return cls([None if isinstance(each, float) and not math.isfinite(each) else each for row in rows for each in row])

    @classmethod
    def parse(cls, rows: bytes) -> Steps:
        """Rows as JSON lists of plain numbers, with commas or line ends between them."""
        return cls(from_json(b"[" + rows.strip().replace(b"\n", b",").translate(None, b"[]") + b"]"))

    def column(self, name: str) -> list[float | None]:
        """One number of every row."""
        return self._flat[STEP_COLUMNS.index(name) :: _WIDTH]

    def after(self, step: int) -> Steps:
        """The rows of greater numbers."""
        return Steps(self._flat[_WIDTH * self._first_after(step) :])

    def up_to(self, step: int) -> Steps:
        """The others."""
        return Steps(self._flat[: _WIDTH * self._first_after(step)])

    def _first_after(self, step: int) -> int:
        first, beyond = 0, len(self)
        while first < beyond:
            middle = (first + beyond) // 2
            if (self._flat[_WIDTH * middle] or 0) > step:
                beyond = middle
            else:
                first = middle + 1
        return first

    def __len__(self) -> int:
        return len(self._flat) // _WIDTH

    @overload
    def __getitem__(self, at: int) -> Step: ...
    @overload
    def __getitem__(self, at: slice) -> Steps: ...
    def __getitem__(self, at: int | slice) -> Step | Steps:
        if isinstance(at, slice):
            return Steps.of(self[each] for each in range(*at.indices(len(self))))
        place = range(len(self))[at]
        return self._flat[_WIDTH * place : _WIDTH * (place + 1)]

    def __iter__(self) -> Iterator[Step]:
        return (self._flat[at : at + _WIDTH] for at in range(0, len(self._flat), _WIDTH))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steps) and self._flat == other._flat

    def __hash__(self) -> int:
        return hash(tuple(self._flat))

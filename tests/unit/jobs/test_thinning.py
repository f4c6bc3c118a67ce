"""Fewer rows for drawing: never more than asked for, and never without what stands out."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.use_cases.thinning import thinned

VALUES = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=300)


@given(columns=st.lists(VALUES, min_size=1, max_size=4), points=st.integers(2, 80))
def test_no_more_than_asked_for(columns: list[list[float | None]], points: int):
    """In order, each once, the first and the last among them; all of them where there is room."""
    rows = min(map(len, columns))
    columns = [column[:rows] for column in columns]

    kept = thinned(columns, rows=rows, points=points)

    assert kept == sorted(set(kept))
    assert len(kept) <= points
    assert {0, rows - 1} <= set(kept) or not rows
    if rows <= points:
        assert kept == list(range(rows))


@pytest.mark.parametrize(("rows", "points"), [(100_000, 1000), (5000, 10), (11, 10)])
def test_the_greatest_and_the_least_of_each_column_stay(rows: int, points: int):
    """A spike of one row among a hundred thousand is drawn."""
    noise = random.Random(3)
    columns: list[list[float | None]] = [[noise.gauss() for _ in range(rows)] for _ in range(2)]
    columns[0][rows // 3], columns[1][rows // 2] = 99.0, -99.0
    columns[0][rows // 4] = None

    kept = thinned(columns, rows=rows, points=points)

    assert len(kept) <= points
    for column in columns:
        told = [each for each in column if each is not None]
        assert {column.index(max(told)), column.index(min(told))} <= set(kept)


def test_a_curve_is_kept_all_along_its_way():
    """Every bucket gives rows: no stretch of the curve is missing."""
    kept = thinned([[math.sin(at / 50) for at in range(10_000)]], rows=10_000, points=202)

    assert max(after - before for before, after in pairwise(kept)) <= 2 * 10_000 / 100

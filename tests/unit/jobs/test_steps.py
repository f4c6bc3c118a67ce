"""Logged steps: rows outside, one flat list inside."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.steps import Steps

ROWS = [[2, 1, 0.1 + 0.2, 0.1], [4, 1, None, 0.1], [6, 2, 1e-9, 0.05]]


def test_rows_go_in_and_come_out():
    """By number, from the end, in parts, by column; a number that is none is None."""
    steps = Steps.of([(2, 1, 0.1 + 0.2, 0.1), (4, 1, math.nan, 0.1), (6, 2, 1e-9, 0.05)])

    assert (list(steps), len(steps)) == (ROWS, 3)
    assert (steps[0], steps[-1]) == (ROWS[0], ROWS[2])
    assert list(steps[1:]) == ROWS[1:]
    assert list(steps[::-2]) == [ROWS[2], ROWS[0]]
    assert steps.column("train_loss") == [0.1 + 0.2, None, 1e-9]
    with pytest.raises(IndexError):
        steps[3]


@pytest.mark.parametrize("between", [",", "\n"])
def test_they_are_read_as_the_store_and_storage_keep_them(between: str):
    """No digit is lost; of nothing comes nothing."""
    text = between.join(json.dumps(row) for row in ROWS)

    assert Steps.parse(text.encode()) == Steps.parse(text.encode() + b"\n") == Steps.of(ROWS)
    assert list(Steps.parse(b"")) == []


@given(numbers=st.lists(st.integers(0, 50), unique=True).map(sorted), step=st.integers(-2, 52))
def test_they_are_cut_at_a_step(numbers: list[int], step: int):
    """Whether that step was logged or not."""
    steps = Steps.of([[number, 1, 0.5, 0.1] for number in numbers])

    assert steps.up_to(step).column("step") == [number for number in numbers if number <= step]
    assert steps.after(step).column("step") == [number for number in numbers if number > step]

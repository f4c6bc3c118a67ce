"""The benchmarks' own arithmetic: the order of a block's runs, what keeps a limit, where the table stands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.__main__ import BEGIN, END, with_table
from tests.bench.harness import Result, blocks, compared


def test_a_block_runs_a_b_b_a_and_the_first_one_does_not_count():
    """What drifts during a block weighs alike on both arms."""
    ran: list[str] = []

    def run(name: str) -> float:
        ran.append(name)
        return float(len(ran))

    taken = blocks(lambda: run("A"), lambda: run("B"), count=2)

    assert "".join(ran) == "ABBA" * 3
    assert taken == [(6.5, 6.5), (10.5, 10.5)]


def test_a_ratio_is_the_median_of_the_blocks_ratios():
    """Not the ratio of medians, and one wild block changes nothing."""
    row = compared([(2.0, 1.0), (30.0, 10.0), (4.0, 1.0), (500.0, 1.0), (2.0, 1.0)], arm="1", what="a / b")

    assert row.value == 3.0
    assert (row.low, row.high) == (2.0, 4.0)


@pytest.mark.parametrize(
    ("value", "better", "verdict"),
    [
        (10, "higher", "target"),
        (9, "higher", "floor"),
        (4, "higher", "below"),
        (5, "lower", "target"),
        (10, "lower", "floor"),
        (11, "lower", "below"),
    ],
)
def test_a_figure_reaches_target_floor_or_neither(value: float, better: Any, verdict: str):
    """On the side that is better."""
    target, floor = (10, 5) if better == "higher" else (5, 10)

    assert Result(arm="1", what="", value=value, low=0, high=0, better=better, target=target, floor=floor).verdict == verdict


def test_the_table_takes_the_place_of_the_one_before():
    """What stands around it stays."""
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"

    assert with_table(page, "new") == f"above\n{BEGIN}\nnew\n{END}\nbelow\n"

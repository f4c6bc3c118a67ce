"""The A/A arm: the hand-written loop against itself. What is not 0.98-1.02 here makes the whole run void."""

from __future__ import annotations

import os

from tests.bench.harness import Result, blocks, compared
from tests.bench.rivals import rival

RUNS = 21
"""Short ones, and many: a neighbour on the machine then spoils few of them."""


def measure() -> list[Result]:
    """How far from 1 the ratio of a thing to itself lies."""
    with rival("tests.bench.loops", "by_hand", "--threads", str(os.cpu_count())) as loop:
        row = compared(blocks(loop.epoch, loop.epoch, count=RUNS), arm="AA", what="hand-written loop / itself")
    what = f"hand-written loop / itself ({row.value:.3f}): distance from 1, void above"
    away = abs(row.value - 1)
    return [Result(arm="AA", what=what, value=away, low=away, high=away, better="lower", target=0.02, floor=0.02, detail=row.detail)]

"""The A/A arm: the hand-written loop against itself. What is not 0.98-1.02 here makes the whole run void."""

from __future__ import annotations

from tests.bench.loops import HandWritten

from tests.bench.harness import Result, blocks, compared


def measure() -> list[Result]:
    """The ratio of one thing to itself, and how far from 1 it lies."""
    loop = HandWritten(threads=1)
    row = compared(blocks(loop.epoch, loop.epoch), arm="AA", what="hand-written loop / itself (void outside 0.98-1.02)")
    away = Result(
        arm="AA",
        what="its distance from 1",
        value=abs(row.value - 1),
        low=0.0,
        high=abs(row.value - 1),
        better="lower",
        target=0.02,
        floor=0.02,
    )
    return [row, away]

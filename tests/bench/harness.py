"""How a ratio is measured here: both arms in one run, A-B-B-A, the median of the blocks' ratios. Raw material for the table."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

BLOCKS = 7
"""At least so many blocks stand behind a ratio; one more is run before them and thrown away."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row of the table: a figure, where it has to be, and how it came about.

    `value` lies between `low` and `high` (the quartiles of the blocks). `better` says on which side of `target` and `floor` is good; without a
    floor it is a figure beside the others.
    """

    arm: str
    what: str
    value: float
    low: float
    high: float
    unit: str = "x"
    better: Literal["higher", "lower"] = "higher"
    target: float | None = None
    floor: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def _keeps(self, limit: float | None) -> bool:
        return limit is None or (self.value >= limit if self.better == "higher" else self.value <= limit)

    @property
    def verdict(self) -> Literal["target", "floor", "below", "-"]:
        """Which of the two it reaches."""
        if self.floor is None and self.target is None:
            return "-"
        if self._keeps(self.target):
            return "target"
        return "floor" if self._keeps(self.floor) else "below"

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return {**asdict(self), "verdict": self.verdict}


def blocks(a: Callable[[], float], b: Callable[[], float], *, count: int = BLOCKS) -> list[tuple[float, float]]:
    """(A, B) of each block, each the mean of its two runs in the order A-B-B-A. The first block warms up and is not among them."""
    taken = []
    for number in range(count + 1):
        first, second, third, last = a(), b(), b(), a()
        told(f"    block {number}: A {first:.6g}, {last:.6g}; B {second:.6g}, {third:.6g}")
        taken.append(((first + last) / 2, (second + third) / 2))
    return taken[1:]


def compared(taken: list[tuple[float, float]], **row: Any) -> Result:
    """The row of A / B over the blocks."""
    low, median, high = quartiles([a / b for a, b in taken])
    arms = {"a_median": statistics.median(a for a, _ in taken), "b_median": statistics.median(b for _, b in taken), "blocks": len(taken)}
    return Result(value=median, low=low, high=high, **row | {"detail": {**arms, **row.get("detail", {})}})


def measured(values: list[float], **row: Any) -> Result:
    """The row of a figure that stands alone: the median of its measurements."""
    low, median, high = quartiles(values)
    return Result(value=median, low=low, high=high, **row | {"detail": {"measurements": len(values), **row.get("detail", {})}})


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def told(line: str) -> None:
    """Progress goes to stderr: stdout is the table."""
    print(line, file=sys.stderr, flush=True)

"""Fewer rows for drawing, without losing what stands out."""

from __future__ import annotations

from collections.abc import Sequence


def thinned(columns: Sequence[Sequence[float | None]], *, rows: int, points: int) -> list[int]:
    """At most so many of the numbers 0 .. rows - 1, in order: the first, the last, and where each column is least and greatest in each of equal buckets.

    MinMax aggregation, as in Jugel, Jerzak, Hackenbroich, Markl, "M4: A Visualization-Oriented Time Series Data Aggregation", PVLDB 7(10), 2014:
    a spike of a single row stays in the drawing, which every n-th row would miss. Columns that `points` has no room for are not looked at.
    """
    if rows <= points:
        return list(range(rows))
    inner, seen = rows - 2, columns[: (points - 2) // 2]
    kept = {0, rows - 1}
    buckets = (points - 2) // (2 * len(seen)) if seen else 0
    for bucket in range(buckets):
        first, end = 1 + bucket * inner // buckets, 1 + (bucket + 1) * inner // buckets
        for column in seen:
            kept.update(_extremes(column[first:end], first))
    return sorted(kept)


def _extremes(part: Sequence[float | None], first: int) -> tuple[int, ...]:
    there = [each for each in part if each is not None] if None in part else part
    if not there:
        return ()
    return first + part.index(min(there)), first + part.index(max(there))  # type: ignore[type-var]  # None is not among them

"""A job's numbers as rows to draw: per epoch or per step, those after a step, thinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from service.jobs.steps import STEP_COLUMNS
from service.use_cases.reading import Whose, metrics, steps
from service.use_cases.services import Services
from service.use_cases.thinning import thinned

_PLACES = ("epoch", "step", "at", "train_seconds")
"""What of an epoch's row is no metric."""

Row = Mapping[str, Any]


def curve(job: Whose, *, per: Literal["epoch", "step"], after: int, points: int | None, services: Services) -> Sequence[Row]:
    """The rows whose step is greater than `after`, oldest first; at most `points`."""
    return _per_step(job, after, points, services) if per == "step" else _per_epoch(job, after, points, services)


def _per_step(job: Whose, after: int, points: int | None, services: Services) -> Sequence[Row]:
    found = steps(job, after=after, services=services)
    kept = found if points is None else (found[at] for at in thinned([found.column("train_loss")], rows=len(found), points=points))
    return [dict(zip(STEP_COLUMNS, step, strict=True)) for step in kept]


def _per_epoch(job: Whose, after: int, points: int | None, services: Services) -> Sequence[Row]:
    rows = metrics(job, after=after, services=services)
    if points is None or len(rows) <= points:
        return rows
    names = dict.fromkeys(name for row in rows for name in row if name not in _PLACES)
    return [rows[at] for at in thinned([[row.get(name) for row in rows] for name in names], rows=len(rows), points=points)]

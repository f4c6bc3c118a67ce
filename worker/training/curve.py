"""How many steps of a training are told one by one: enough for a drawing, few enough to cost nothing."""

from __future__ import annotations

from service.spec.job import JobSpec
from service.spec.training import MOST_LOGGED
from worker.training.epochs import steps_in_all

POINTS = 2000
"""Of a job that does not say how many, at most; a screen has no more columns."""


def log_every(spec: JobSpec, samples: int) -> int:
    """Of every so many-th step the loss is told: as the spec asks, but no more steps than a job may log."""
    steps = steps_in_all(spec, samples)
    asked = spec.training.log_every_n_steps or max(1, -(-steps // POINTS))
    return asked * max(1, -(-(steps // asked) // MOST_LOGGED))

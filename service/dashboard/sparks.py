"""The course of a job in a thumbnail: one metric, a few dozen values. What was read is remembered; only what came since is read again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from service import use_cases
from service.jobs.errors import JobNotFound
from service.jobs.job import Job
from service.use_cases import Services

MOST_VALUES = 40
REMEMBERED = 5000
AT_ONCE = 8
TELLING = ("val_accuracy", "val_r2_score", "val_loss", "train_accuracy", "train_loss")
"""The metrics that tell most of a job, the best one first."""


def key_metric(names: Iterable[str], monitor: str | None = None) -> str | None:
    """The one metric to show of a job: what it watches itself, or what tells most."""
    known = set(names)
    return next((name for name in (monitor, *TELLING) if name in known), None)


def monitored(spec: Mapping[str, Any]) -> str | None:
    """What a spec watches."""
    checkpoint = spec.get("checkpoint")
    found = checkpoint.get("monitor") if isinstance(checkpoint, Mapping) else None
    return found if isinstance(found, str) else None


class Course:
    """Every so many-th value of a metric that only grows longer: twice as many as needed at most, then every other one goes."""

    def __init__(self, monitor: str | None) -> None:
        self.name: str | None = None
        self.last_step = -1
        self._monitor = monitor
        self._stride, self._seen = 1, 0
        self._values: list[float] = []
        self._last: float | None = None

    def grow(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows that came since, oldest first."""
        self.name = self.name or key_metric((name for row in rows for name in row), self._monitor)
        for row in rows:
            self.last_step = row["step"]
            value = row.get(self.name or "")
            if not isinstance(value, int | float):
                continue
            if self._seen % self._stride == 0:
                self._values.append(value)
            self._seen, self._last = self._seen + 1, value
            if len(self._values) > 2 * MOST_VALUES:
                self._values, self._stride = self._values[::2], 2 * self._stride

    def drawn(self) -> Mapping[str, Any]:
        """{name, values}, the last value always among them."""
        whole = (self._seen - 1) % self._stride == 0
        return {"name": self.name, "values": self._values if whole or self._last is None else [*self._values, self._last]}


class Sparks:
    """The courses of the jobs that were looked at of late."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, Course]] = OrderedDict()
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sparks")

    def of(self, project: str, ids: Sequence[str], *, services: Services) -> Mapping[str, Mapping[str, Any]]:
        """{id: {name, values}} of the jobs that are there."""
        wanted = list(dict.fromkeys(ids))
        drawn = self._readers.map(lambda job_id: self._one(project, job_id, services), wanted)
        return {job_id: spark for job_id, spark in zip(wanted, drawn, strict=True) if spark is not None}

    def _one(self, project: str, job_id: str, services: Services) -> Mapping[str, Any] | None:
        try:
            job = services.jobs.find(project, job_id)
            with self._lock:
                version, course = self._known.get(job_id, (0, None))
            if course is not None and version == job.version:
                return course.drawn()
            return self._grown(job, course, services).drawn()
        except JobNotFound:
            return None

    def _grown(self, job: Job, known: Course | None, services: Services) -> Course:
        course = known or Course(monitored(job.resolved_spec or job.spec))
        rows = use_cases.metrics(job, after=course.last_step, services=services)
        with self._lock:
            course.grow([row for row in rows if row["step"] > course.last_step])  # another request may have been faster
            self._known[job.id] = (job.version, course)
            self._known.move_to_end(job.id)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return course

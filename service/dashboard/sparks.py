"""The course of a job in a thumbnail: one metric, a few dozen values. Of ended jobs it is read from storage once, and remembered."""

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


def monitored(job: Job) -> str | None:
    """What the job's own spec watches."""
    checkpoint = (job.resolved_spec or job.spec).get("checkpoint") or {}
    found = checkpoint.get("monitor")
    return found if isinstance(found, str) else None


class Sparks:
    """What was drawn of late, by job and version of its record."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], Mapping[str, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sparks")

    def of(self, project: str, ids: Sequence[str], *, services: Services) -> Mapping[str, Mapping[str, Any]]:
        """{id: {name, values}} of the jobs that are there."""
        drawn = self._readers.map(lambda job_id: self._one(project, job_id, services), dict.fromkeys(ids))
        return {job_id: spark for job_id, spark in zip(dict.fromkeys(ids), drawn, strict=True) if spark is not None}

    def close(self) -> None:
        """Nobody is read for any more."""
        self._readers.shutdown()

    def _one(self, project: str, job_id: str, services: Services) -> Mapping[str, Any] | None:
        try:
            job = services.jobs.find(project, job_id)
            place = (job_id, job.version)
            with self._lock:
                if place in self._known:
                    return self._known[place]
            spark = drawn(use_cases.metrics(job, services=services), monitored(job))
        except JobNotFound:
            return None
        if job.is_terminal:
            with self._lock:
                self._known[place] = spark
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return spark


def drawn(rows: Sequence[Mapping[str, Any]], monitor: str | None) -> Mapping[str, Any]:
    """The metric's name and its values, evenly thinned, the last one always among them."""
    name = key_metric((name for row in rows for name in row), monitor)
    values = [row[name] for row in rows if isinstance(row.get(name), int | float)] if name else []
    stride = -(-len(values) // MOST_VALUES) or 1
    return {"name": name, "values": values[::-1][::stride][::-1]}

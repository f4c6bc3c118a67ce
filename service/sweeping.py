"""What keeps jobs moving when nobody asks: dead leases given back, records saved, idle workers woken. Harmless when many run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from service.jobs.job import Job
from service.jobs.layout import events_key, logs_key, metrics_key, record_key
from service.jobs.ports import ArtifactStore, Doorbell, FactLog, Housekeeping, WorkerRegistry
from service.killpoints import KillPoint, passing

SAVED_AT_ONCE = 50


def sweep(*, housekeeping: Housekeeping, facts: FactLog, artifacts: ArtifactStore, doorbell: Doorbell, workers: WorkerRegistry) -> None:
    """One round. Raises Unavailable where a part does not answer; the next round does what this one could not."""
    housekeeping.expire()
    ring(housekeeping=housekeeping, doorbell=doorbell, workers=workers)
    save(housekeeping=housekeeping, facts=facts, artifacts=artifacts)


def ring(*, housekeeping: Housekeeping, doorbell: Doorbell, workers: WorkerRegistry) -> None:
    """Wake as many idle slots as there is work for, per class."""
    idle: Counter[str] = Counter()
    for worker in workers.workers():
        idle[worker.device] += max(0, worker.slots - worker.busy)
    for device, waiting in housekeeping.pending().items():
        times = min(waiting, idle[device])
        if times:
            passing(KillPoint.BEFORE_RING)
            doorbell.ring(device, times=times)


def save(*, housekeeping: Housekeeping, facts: FactLog, artifacts: ArtifactStore) -> None:
    """Write every unsaved record to storage; with an ended job goes its live tail."""
    for job in housekeeping.unsaved(SAVED_AT_ONCE):
        if job.is_terminal:
            _save_tail(job, facts=facts, artifacts=artifacts)
        artifacts.put_bytes(record_key(job.project, job.id), job.model_dump_json().encode())
        passing(KillPoint.RECORD_PUT)
        housekeeping.saved(job)


def _save_tail(job: Job, *, facts: FactLog, artifacts: ArtifactStore) -> None:
    events = facts.events(job.project, job.id, after=0, limit=100_000)
    if events is not None:  # else it was saved before, and the tail has expired since
        artifacts.put_bytes(events_key(job.project, job.id), json_lines(events), content_type="application/jsonl")
        artifacts.put_bytes(
            metrics_key(job.project, job.id), json_lines(facts.metrics(job.project, job.id) or ()), content_type="application/jsonl"
        )
        logs = "".join(f"{line}\n" for line in facts.logs(job.project, job.id) or ())
        artifacts.put_bytes(logs_key(job.project, job.id), logs.encode(), content_type="text/plain; charset=utf-8")


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """One JSON object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()

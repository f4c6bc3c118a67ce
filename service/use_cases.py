"""What users can do, as plain functions of the ports. Each reads as a page of named steps; none knows HTTP, Redis or S3."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.jobs.errors import ArtifactNotFound, NotFinished, PreflightBusy, SpecRejected, Unavailable
from service.jobs.job import Device, Job
from service.jobs.layout import artifacts_prefix, events_key, logs_key, metrics_key
from service.jobs.ports import ArtifactStore, FactLog, Idempotency, JobStore, Preflight, Submitted, WorkerRegistry
from service.jobs.state import Reason
from service.spec.checking import needed, verdict
from service.spec.job import read_spec
from service.spec.verdict import SpecWarning, Verdict


@dataclass(frozen=True, kw_only=True)
class Services:
    """Every collaborator of the use cases."""

    jobs: JobStore
    facts: FactLog
    artifacts: ArtifactStore
    preflight: Preflight
    workers: WorkerRegistry
    threads: int
    """Of a job that names none."""
    ring: Callable[[], None]
    """Wakes whoever rings the doorbell; never blocks."""
    now: Callable[[], datetime]


def new_id(now: datetime) -> str:
    """A job's id: sorts by time, cannot be guessed. 11 hex digits of milliseconds, 10 of chance."""
    return f"job_{int(now.timestamp() * 1000):011x}{secrets.token_hex(5)}"


def validate(body: Mapping[str, Any], *, services: Services) -> Verdict:
    """Every fault at once. Without torch beside the API only what needs no torch is checked, and a warning says so."""
    try:
        checked = services.preflight.check(needed(body))
    except PreflightBusy:
        raise
    except Unavailable:
        return _checked_without_torch(body, threads=services.threads)
    return verdict(body, checked, threads=services.threads)


def _checked_without_torch(body: Mapping[str, Any], *, threads: int) -> Verdict:
    found = verdict(body, None, threads=threads)
    detail = "torch is not installed beside the API: sizes are checked by the worker, as its first phase."
    return found.model_copy(update={"warnings": (*found.warnings, SpecWarning(code="not_checked", detail=detail))})


def submit(body: Mapping[str, Any], *, project: str, idempotency: Idempotency | None, services: Services) -> Submitted:
    """Check the spec whole, store the job, wake a worker. Raises SpecRejected, IdempotencyConflict, Unavailable."""
    found = validate(body, services=services)
    if not found.valid:
        raise SpecRejected(found.errors)
    spec = read_spec(body)
    device, warnings = _placed(spec.resources.device, workers=services.workers)
    now = services.now()
    job = Job(
        id=new_id(now),
        project=project,
        name=spec.name,
        labels=spec.labels,
        reason=Reason.WAITING_FOR_WORKER if warnings else None,
        max_retries=spec.resources.max_retries,
        priority=spec.resources.priority,
        device=device,
        warnings=(*found.warnings, *warnings),
        created_at=now,
        spec=dict(body),
        resolved_spec=found.resolved_spec,
    )
    submitted = services.jobs.submit(job, idempotency=idempotency)
    services.ring()
    return submitted


def _placed(wanted: str, *, workers: WorkerRegistry) -> tuple[Device, list[SpecWarning]]:
    """The class a job runs in, and a warning where nobody can run it now."""
    live = {worker.device for worker in workers.workers()}
    device: Device = "gpu" if wanted == "gpu" or (wanted == "auto" and "gpu" in live) else "cpu"
    if device in live:
        return device, []
    detail = f"No {device} worker is running now; the job waits for one."
    return device, [
        SpecWarning(pointer="/resources/device", code="no_capable_worker", detail=detail, suggestion=f"trainyard worker --device {device}")
    ]


def cancel(project: str, job_id: str, *, jobs: JobStore) -> Job:
    """Stop the job: at once while it waits, within two seconds while it runs. Raises JobNotFound, IllegalTransition."""
    return jobs.cancel(project, job_id)


def events(job: Job, *, after: int, limit: int, services: Services) -> Sequence[Mapping[str, Any]]:
    """Events with id > after, oldest first."""
    live = services.facts.events(job.project, job.id, after=after, limit=limit)
    if live is not None:
        return live
    return [event for event in _stored_lines(events_key(job.project, job.id), services) if event["id"] > after][:limit]


def metrics(job: Job, *, services: Services) -> Sequence[Mapping[str, Any]]:
    """One row per finished epoch, oldest first."""
    live = services.facts.metrics(job.project, job.id)
    return live if live is not None else _stored_lines(metrics_key(job.project, job.id), services)


def logs(job: Job, *, services: Services) -> Sequence[str]:
    """Log lines, oldest first."""
    live = services.facts.logs(job.project, job.id)
    return live if live is not None else _stored(logs_key(job.project, job.id), services).decode().splitlines()


def manifest(job: Job, *, artifacts: ArtifactStore) -> Sequence[Mapping[str, Any]]:
    """The job's artifacts as {path, size, sha256, content_type}, the manifest last; empty where it ended without any. Raises NotFinished."""
    if not job.is_terminal:
        raise NotFinished(job.id, state=job.state)
    try:
        body = b"".join(artifacts.open(artifacts_prefix(job.project, job.id, job.token) + "manifest.json"))
    except ArtifactNotFound:
        return []
    own = {"path": "manifest.json", "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "content_type": "application/json"}
    return [*json.loads(body)["files"], own]


def artifact(job: Job, path: str, *, artifacts: ArtifactStore) -> Mapping[str, Any]:
    """One entry of the manifest. Raises NotFinished, ArtifactNotFound: only what the manifest names is ever served."""
    for file in manifest(job, artifacts=artifacts):
        if file["path"] == path:
            return file
    raise ArtifactNotFound(path)


def read_artifact(job: Job, path: str, *, start: int, end: int | None, artifacts: ArtifactStore) -> Iterator[bytes]:
    """The bytes start..end (inclusive) of an artifact, in chunks."""
    return artifacts.open(artifacts_prefix(job.project, job.id, job.token) + path, start=start, end=end)


def _stored_lines(key: str, services: Services) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in _stored(key, services).splitlines()]


def _stored(key: str, services: Services) -> bytes:
    try:
        return b"".join(services.artifacts.open(key))
    except ArtifactNotFound:
        return b""

"""What users can do, as plain functions of the ports. Each reads as a page of named steps; none knows HTTP, Redis or S3."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.jobs.errors import ArtifactNotFound, JobNotFound, NotFinished, PreflightBusy, SpecRejected, Unavailable
from service.jobs.estimating import LEARNT_FROM, estimate
from service.jobs.job import Device, Job
from service.jobs.layout import artifacts_prefix, events_key, logs_key, metrics_key
from service.jobs.ports import ArtifactStore, FactLog, Idempotency, JobStore, Preflight, Submitted, WorkerRegistry
from service.jobs.state import JobState, Reason
from service.killpoints import KillPoint, passing
from service.spec.checking import needed, verdict
from service.spec.job import read_spec
from service.spec.verdict import Fault, SpecWarning, Verdict


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


def validate(body: Mapping[str, Any], *, project: str, services: Services) -> Verdict:
    """Every fault at once. Without torch beside the API only what needs no torch is checked, and a warning says so."""
    whole, faults = _with_earlier_model(body, project=project, jobs=services.jobs)
    try:
        checked = services.preflight.check(needed(whole))
    except PreflightBusy:
        raise
    except Unavailable:
        found = _checked_without_torch(whole, threads=services.threads)
    else:
        found = verdict(whole, checked, threads=services.threads)
    if not faults and found.resolved_spec is not None:
        device = None if found.resolved_spec["resources"]["device"] == "auto" else found.resolved_spec["resources"]["device"]
        finished = services.jobs.list(project, limit=LEARNT_FROM, cursor=None, states=[JobState.SUCCEEDED], labels={}, name=None).jobs
        learnt = estimate(found.resolved_spec, memory=found.memory_bytes, device=device, finished=finished)
        return found.model_copy(update={"estimate": learnt})
    if not faults:
        return found
    return found.model_copy(update={"valid": False, "resolved_spec": None, "errors": (*faults, *found.errors)})


def _with_earlier_model(body: Mapping[str, Any], *, project: str, jobs: JobStore) -> tuple[Mapping[str, Any], list[Fault]]:
    """The body of a warm start with the earlier job's model in it, and what is wrong with that job."""
    model = body.get("model")
    if not isinstance(model, Mapping) or model.get("type") != "Job" or not isinstance(model.get("job_id"), str):
        return body, []
    plain = {name: value for name, value in model.items() if name != "model"}
    try:
        earlier = jobs.find(project, model["job_id"])
    except JobNotFound:
        detail, suggestion = f"There is no job {model['job_id']} in this project.", "Take an id from GET /v1/jobs?state=succeeded."
        return {**body, "model": plain}, [Fault(pointer="/model/job_id", code="no_job", detail=detail, suggestion=suggestion)]
    if earlier.state is not JobState.SUCCEEDED and earlier.checkpoint is None:
        detail = f"Job {earlier.id} is {earlier.state} and has no weights yet."
        fault = Fault(pointer="/model/job_id", code="no_weights", detail=detail, suggestion="Wait for its first checkpoint, or its end.")
        return {**body, "model": plain}, [fault]
    inner = (earlier.resolved_spec or {}).get("model", {})
    return {**body, "model": plain | {"model": inner.get("model") if inner.get("type") == "Job" else inner}}, []


def _checked_without_torch(body: Mapping[str, Any], *, threads: int) -> Verdict:
    found = verdict(body, None, threads=threads)
    detail = "torch is not installed beside the API: sizes are checked by the worker, as its first phase."
    return found.model_copy(update={"warnings": (*found.warnings, SpecWarning(code="not_checked", detail=detail))})


def submit(body: Mapping[str, Any], *, project: str, idempotency: Idempotency | None, services: Services) -> Submitted:
    """Check the spec whole, store the job, wake a worker. Raises SpecRejected, IdempotencyConflict, Unavailable."""
    found = validate(body, project=project, services=services)
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
        estimate=found.estimate,
    )
    passing(KillPoint.BEFORE_SUBMIT)
    submitted = services.jobs.submit(job, idempotency=idempotency)
    passing(KillPoint.AFTER_SUBMIT)
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

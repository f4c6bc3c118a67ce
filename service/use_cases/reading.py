"""What a job tells: events, metrics, logs while they live in the store, and from storage afterwards; and its artifacts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic_core import from_json

from service.jobs.errors import ArtifactNotFound, JobNotFound, NotFinished
from service.jobs.estimating import LOOKED_AHEAD, seconds_to_start
from service.jobs.job import Job
from service.jobs.layout import artifacts_prefix, events_key, logs_key, metrics_key, steps_key
from service.jobs.ports import ArtifactStore
from service.jobs.rows import json_lines, json_list
from service.jobs.state import JobState
from service.jobs.steps import Steps
from service.use_cases.services import Services


class Named(NamedTuple):
    """A job by its name: what it told is found without reading it."""

    project: str
    id: str


Whose = Job | Named


def is_expected(position: int | None) -> bool:
    """Whether `estimated_start` looks at what is before a job at this position."""
    return position is not None and position <= LOOKED_AHEAD + 1


def estimated_start(job: Job, *, position: int | None, services: Services) -> datetime | None:
    """When a job that waits at this position will start, as far as all that runs and waits before it has an estimate; else None."""
    if not is_expected(position):
        return None
    ahead = services.jobs.ahead(job, limit=LOOKED_AHEAD)
    if ahead is None:
        return None
    slots = sum(worker.slots for worker in services.workers.workers() if worker.device == job.device)
    limited = min(slots, ahead.most or slots)
    seconds = seconds_to_start(slots=limited, running=ahead.running, before=ahead.waiting)
    return None if seconds is None else services.now() + timedelta(seconds=seconds)


def events(job: Whose, *, after: int, limit: int, services: Services) -> Sequence[Mapping[str, Any]]:
    """Events with id > after, oldest first. Raises JobNotFound, as all that tells of a job."""
    live = services.facts.events(job.project, job.id, after=after, limit=limit)
    if live is not None:
        return live
    return [event for event in _stored_lines(job, events_key(job.project, job.id), services) if event["id"] > after][:limit]


def metrics(job: Whose, *, after: int = -1, services: Services) -> Sequence[Mapping[str, Any]]:
    """One row per finished epoch, those with a greater step, oldest first."""
    rows: Sequence[Mapping[str, Any]] = from_json(json_list(metric_lines(job, after=after, services=services)))
    return rows


def metric_lines(job: Whose, *, after: int = -1, services: Services) -> bytes:
    """The same as JSON, a row on each line."""
    live = services.facts.lines(job.project, job.id, "rows", after=after)
    if live is not None:
        return live
    key = metrics_key(job.project, job.id)
    if after < 0:
        return _stored(job, key, services)
    return json_lines(row for row in _stored_lines(job, key, services) if row["step"] > after)


def steps(job: Whose, *, after: int = -1, services: Services) -> Steps:
    """Logged steps with a greater number, oldest first."""
    live = services.facts.steps(job.project, job.id, after=after)
    return live if live is not None else Steps.parse(_stored(job, steps_key(job.project, job.id), services)).after(after)


def logs(job: Whose, *, last: int | None = None, services: Services) -> Sequence[str]:
    """Log lines, oldest first; of them the `last` so many."""
    live = services.facts.logs(job.project, job.id, last=last)
    return live if live is not None else _stored(job, logs_key(job.project, job.id), services).decode().splitlines()[-(last or 0) :]


def manifest(job: Job, *, artifacts: ArtifactStore) -> Sequence[Mapping[str, Any]]:
    """The job's artifacts as {path, size, sha256, content_type}, the manifest last; empty where it ended without any.

    Raises NotFinished, and JobNotFound where the job has been deleted meanwhile.
    """
    if not job.is_terminal:
        raise NotFinished(job.id, state=job.state)
    try:
        body = b"".join(artifacts.open(artifacts_prefix(job.project, job.id, job.token) + "manifest.json"))
    except ArtifactNotFound as error:
        if job.state is JobState.SUCCEEDED:  # it had one: the job was deleted since it was read
            raise JobNotFound(job.id) from error
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


def artifact_url(job: Job, file: Mapping[str, Any], *, services: Services) -> str | None:
    """Where an artifact lies in storage, for whoever is given it; None where users do not reach storage."""
    if services.links is None:
        return None
    return services.links.to(artifacts_prefix(job.project, job.id, job.token) + file["path"], content_type=file["content_type"])


def _stored_lines(job: Whose, key: str, services: Services) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in _stored(job, key, services).splitlines()]


def _stored(job: Whose, key: str, services: Services) -> bytes:
    """What was saved of the job, empty where it never told anything. Raises JobNotFound where it has been deleted meanwhile."""
    try:
        return b"".join(services.artifacts.open(key))
    except ArtifactNotFound:
        services.jobs.find(job.project, job.id)
        return b""

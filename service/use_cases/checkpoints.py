"""The checkpoints of a job that are kept, while it runs and afterwards. Only what a committed manifest names is ever served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.jobs.errors import ArtifactNotFound
from service.jobs.job import CheckpointPointer, Job
from service.jobs.ports import ArtifactStore
from service.use_cases.services import Services


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A checkpoint: where it lies, when it was stored (None: its manifest does not say), and its files as {path, size, sha256}."""

    pointer: CheckpointPointer
    created_at: datetime | None
    best: bool
    """Whether it was taken at the best epoch so far, by `checkpoint.monitor`."""
    files: Sequence[Mapping[str, Any]]


def checkpoints(job: Job, *, services: Services) -> Sequence[Kept]:
    """The newest first, one for each step. Raises JobNotFound where the job has been deleted meanwhile."""
    newest: dict[int, CheckpointPointer] = {}
    for pointer in job.checkpoints:
        newest.setdefault(pointer.step, pointer)
    found = [kept for pointer in newest.values() if (kept := _kept(job, pointer, services.artifacts)) is not None]
    if len(found) < len(newest):  # replaced since the job was read, or gone with it
        services.jobs.find(job.project, job.id)
    return found


def checkpoint_file(job: Job, step: int, path: str, *, services: Services) -> tuple[Kept, Mapping[str, Any]]:
    """One file of the checkpoint at that step. Raises ArtifactNotFound, JobNotFound."""
    pointer = next((each for each in job.checkpoints if each.step == step), None)
    kept = _kept(job, pointer, services.artifacts) if pointer else None
    for file in kept.files if kept else ():
        if kept is not None and file["path"] == path:
            return kept, file
    services.jobs.find(job.project, job.id)
    raise ArtifactNotFound(f"checkpoints/{step}/{path}")


def read_checkpoint(kept: Kept, path: str, *, start: int, end: int | None, artifacts: ArtifactStore) -> Iterator[bytes]:
    """The bytes start..end (inclusive) of a file, in chunks. Raises ArtifactNotFound where a newer checkpoint has just replaced this one."""
    return artifacts.open(kept.pointer.prefix + path, start=start, end=end)


def checkpoint_url(kept: Kept, file: Mapping[str, Any], *, services: Services) -> str | None:
    """Where the file lies in storage, for whoever is given it; None where users do not reach storage."""
    if services.links is None:
        return None
    return services.links.to(kept.pointer.prefix + file["path"], content_type=content_type(file["path"]))


def content_type(path: str) -> str:
    """What a file of a checkpoint is."""
    return "application/json" if path.endswith(".json") else "application/octet-stream"


def _kept(job: Job, pointer: CheckpointPointer, artifacts: ArtifactStore) -> Kept | None:
    try:
        manifest = json.loads(b"".join(artifacts.open(pointer.prefix + "manifest.json")))
    except ArtifactNotFound:
        return None
    stored = manifest.get("at")
    return Kept(
        pointer=pointer,
        created_at=datetime.fromisoformat(stored) if stored else None,
        best=job.best is not None and job.best.step == pointer.step,
        files=manifest["files"],
    )

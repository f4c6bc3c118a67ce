"""Every record back from storage after Redis was lost: ended jobs as they were, the others to run again from their newest checkpoint."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from service.jobs.errors import ArtifactNotFound
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import metrics_key
from service.jobs.ports import ArtifactStore, Rebuilding


@dataclass
class Rebuilt:
    """How many records were restored, how many were here already, and the keys of those that cannot be read."""

    restored: int = 0
    known: int = 0
    unreadable: list[str] = field(default_factory=list)


def rebuild(*, artifacts: ArtifactStore, rebuilding: Rebuilding) -> Rebuilt:
    """Restore every record that storage has. May be run twice, and beside a running service. Raises StorageUnavailable, StoreUnavailable."""
    found = Rebuilt()
    records, manifests = _listed(artifacts)
    # in the order of their ids, which is that of their creation: a retry comes after the job that it retries
    for job_id, key in sorted(records.items()):
        try:
            job = Job.model_validate_json(b"".join(artifacts.open(key)))
        except (ArtifactNotFound, ValidationError):
            found.unreadable.append(key)
            continue
        if not job.is_terminal:
            job = _at_newest_checkpoint(job, manifests[job_id], artifacts)
        if rebuilding.restore(job, rows=() if job.is_terminal else _covered_rows(job, artifacts)):
            found.restored += 1
        else:
            found.known += 1
    return found


def _listed(artifacts: ArtifactStore) -> tuple[dict[str, str], defaultdict[str, list[str]]]:
    """The key of each job's record, and of every checkpoint's manifest, by job."""
    records: dict[str, str] = {}
    manifests: defaultdict[str, list[str]] = defaultdict(list)
    for stored in artifacts.list("projects/"):
        match stored.key.split("/"):
            case ["projects", _, "jobs", job_id, "job.json"]:
                records[job_id] = stored.key
            case ["projects", _, "jobs", job_id, "attempts", _, "checkpoints", _, "manifest.json"]:
                manifests[job_id].append(stored.key)
    return records, manifests


def _at_newest_checkpoint(job: Job, manifests: Sequence[str], artifacts: ArtifactStore) -> Job:
    """The record may be older than the checkpoints: whichever attempt wrote one, it is a state of this very training."""
    known = {pointer.prefix for pointer in job.checkpoints}
    newer = [_pointer(key, artifacts) for key in manifests if key.removesuffix("manifest.json") not in known]
    pointers = sorted((*newer, *job.checkpoints), key=lambda pointer: (pointer.token, pointer.step), reverse=True)
    return job.model_copy(update={"checkpoints": tuple(pointers), "token": max(job.token, *(each.token for each in pointers), 0)})


def _pointer(key: str, artifacts: ArtifactStore) -> CheckpointPointer:
    manifest: Mapping[str, Any] = json.loads(b"".join(artifacts.open(key)))
    return CheckpointPointer(
        token=manifest["token"], epoch=manifest["epoch"], step=manifest["step"], prefix=key.removesuffix("manifest.json")
    )


def _covered_rows(job: Job, artifacts: ArtifactStore) -> list[Mapping[str, Any]]:
    """The metric rows up to the checkpoint; later ones will be told again."""
    try:
        lines = b"".join(artifacts.open(metrics_key(job.project, job.id))).splitlines()
    except ArtifactNotFound:
        return []
    covered = job.checkpoint.step if job.checkpoint else -1
    return [row for row in map(json.loads, lines) if row["step"] <= covered]

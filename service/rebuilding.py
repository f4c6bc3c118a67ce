"""Every record back from storage after Redis was lost: ended jobs as they were, the others to run again from their newest checkpoint."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from service.access.ports import Safekeeping
from service.datasets.ports import DatasetStore
from service.datasets.record import DatasetVersion
from service.jobs.errors import ArtifactNotFound
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import metrics_key, steps_key
from service.jobs.ports import ArtifactStore, Rebuilding
from service.jobs.steps import Step, Steps
from service.safekeeping import restore_access


@dataclass
class Rebuilt:
    """How many records were restored, how many were here already, and the keys of those that cannot be read."""

    restored: int = 0
    keys: int = 0
    """Keys and projects that were restored."""
    known: int = 0
    unreadable: list[str] = field(default_factory=list)

    def count(self, *, restored: bool) -> None:
        """One more."""
        if restored:
            self.restored += 1
        else:
            self.known += 1


def rebuild(*, artifacts: ArtifactStore, rebuilding: Rebuilding, datasets: DatasetStore, access: Safekeeping) -> Rebuilt:
    """Restore every record that storage has. May be run twice, and beside a running service. Raises StorageUnavailable, StoreUnavailable."""
    # whoever may come in, before what they may see
    found = Rebuilt(keys=restore_access(store=access, artifacts=artifacts))
    records, manifests, versions = _listed(artifacts)
    # before the jobs that need them
    for key in versions:
        try:
            version = DatasetVersion.model_validate_json(b"".join(artifacts.open(key)))
        except (ArtifactNotFound, ValidationError):
            found.unreadable.append(key)
            continue
        found.count(restored=datasets.restore(version))
    # in the order of their ids, which is that of their creation: a retry comes after the job that it retries
    for job_id, key in sorted(records.items()):
        try:
            job = Job.model_validate_json(b"".join(artifacts.open(key)))
        except (ArtifactNotFound, ValidationError):
            found.unreadable.append(key)
            continue
        rows: Sequence[Mapping[str, Any]] = ()
        steps: Sequence[Step] = ()
        if not job.is_terminal:
            job, rows = _at_newest_checkpoint(job, manifests[job_id], artifacts)
            covered = job.checkpoint.step if job.checkpoint else -1
            steps = Steps.parse(_stored(steps_key(job.project, job_id), artifacts)).up_to(covered)
        found.count(restored=rebuilding.restore(job, rows=rows, steps=steps))
    return found


def _listed(artifacts: ArtifactStore) -> tuple[dict[str, str], defaultdict[str, list[str]], list[str]]:
    """The key of each job's record, of every checkpoint's manifest, by job, and of each data set's record."""
    records: dict[str, str] = {}
    manifests: defaultdict[str, list[str]] = defaultdict(list)
    versions: list[str] = []
    for stored in artifacts.list("projects/"):
        match stored.key.split("/"):
            case ["projects", _, "jobs", job_id, "job.json"]:
                records[job_id] = stored.key
            case ["projects", _, "jobs", job_id, "attempts", _, "checkpoints", _, "manifest.json"]:
                manifests[job_id].append(stored.key)
            case ["projects", _, "datasets", _, _, "dataset.json"]:
                versions.append(stored.key)
    return records, manifests, versions


def _at_newest_checkpoint(job: Job, manifests: Sequence[str], artifacts: ArtifactStore) -> tuple[Job, list[Mapping[str, Any]]]:
    """The job at the newest checkpoint that its saved metric rows reach to, and those rows.

    The record may be older than the checkpoints: whichever attempt wrote one, it is a state of this very training.
    """
    rows = [json.loads(line) for line in _stored(metrics_key(job.project, job.id), artifacts).splitlines()]
    told = rows[-1]["epoch"] if rows else 0
    known = {pointer.prefix for pointer in job.checkpoints}
    newer = [_pointer(key, artifacts) for key in manifests if key.removesuffix("manifest.json") not in known]
    newest_first = sorted((*newer, *job.checkpoints), key=lambda pointer: (pointer.token, pointer.step), reverse=True)
    token = max(job.token, *(pointer.token for pointer in newest_first), 0)
    kept = tuple(pointer for pointer in newest_first if pointer.epoch <= told)
    covered = kept[0].step if kept else -1
    return job.model_copy(update={"checkpoints": kept, "token": token}), [row for row in rows if row["step"] <= covered]


def _pointer(key: str, artifacts: ArtifactStore) -> CheckpointPointer:
    manifest: Mapping[str, Any] = json.loads(b"".join(artifacts.open(key)))
    return CheckpointPointer(
        token=manifest["token"],
        epoch=manifest["epoch"],
        step=manifest["step"],
        prefix=key.removesuffix("manifest.json"),
        size=sum(file["size"] for file in manifest["files"]),
    )


def _stored(key: str, artifacts: ArtifactStore) -> bytes:
    try:
        return b"".join(artifacts.open(key))
    except ArtifactNotFound:
        return b""

"""Removes from storage what no record names any more. Everything here may be done twice, by many, and stopped half-way."""

from __future__ import annotations

from service.datasets.record import folder_key
from service.jobs.job import Job
from service.jobs.layout import artifacts_prefix, attempts_prefix, job_prefix, record_key
from service.jobs.ports import ArtifactStore


def erase(project: str, job_id: str, *, artifacts: ArtifactStore) -> None:
    """Every object of a deleted job; the record first, so that a rebuild does not bring it back half."""
    artifacts.delete([record_key(project, job_id)])
    artifacts.abort_uploads(job_prefix(project, job_id))
    artifacts.delete([stored.key for stored in artifacts.list(job_prefix(project, job_id))])


def erase_dataset(project: str, name: str, place: str, *, artifacts: ArtifactStore) -> None:
    """Every object of a version of a data set that nobody finds any more; the record first."""
    folder = folder_key(project, name, place)
    artifacts.delete([folder + "dataset.json"])
    artifacts.abort_uploads(folder)
    artifacts.delete([stored.key for stored in artifacts.list(folder)])


def collect(job: Job, *, artifacts: ArtifactStore) -> int:
    """What attempts of an ended job left behind: checkpoints that are not kept, artifacts without a manifest, uploads never completed.

    Answers the bytes that the job has in storage after that.
    """
    folder = attempts_prefix(job.project, job.id)
    artifacts.abort_uploads(folder)
    sizes = {stored.key: stored.size for stored in artifacts.list(job_prefix(job.project, job.id))}
    home = artifacts_prefix(job.project, job.id, job.token)
    kept = tuple(pointer.prefix for pointer in job.checkpoints) + ((home,) if f"{home}manifest.json" in sizes else ())
    left = [key for key in sizes if key.startswith(folder) and not key.startswith(kept)]
    artifacts.delete(left)
    return sum(sizes.values()) - sum(sizes[key] for key in left)

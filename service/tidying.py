"""What lies in storage that no record names, found by looking at all of it; and how much each project keeps there. Slow: a call lists everything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from service.access.ports import Accounts
from service.access.quota import of_dataset, of_job
from service.datasets.ports import DatasetStore
from service.jobs.errors import JobNotFound
from service.jobs.ports import ArtifactStore, JobStore, Stored

YOUNG = timedelta(hours=1)
"""What is younger may be on its way to a record."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Objects and their bytes."""

    objects: int
    bytes: int

    @classmethod
    def of(cls, stored: Iterable[Stored]) -> Usage:
        """The sum of some."""
        sizes = [each.size for each in stored]
        return cls(objects=len(sizes), bytes=sum(sizes))


@dataclass
class Found:
    """What no record names, by the folder that it lies in; what records do name; and jobs whose record is in storage alone."""

    unnamed: dict[str, list[Stored]] = field(default_factory=dict)
    named: dict[tuple[str, str], int] = field(default_factory=dict)
    """Bytes by project and owner."""
    only_stored: list[str] = field(default_factory=list)


def usage(project: str, *, artifacts: ArtifactStore) -> dict[str, Usage]:
    """What a project's jobs and data sets take in storage."""
    return {kind: Usage.of(artifacts.list(f"projects/{project}/{kind}/")) for kind in ("jobs", "datasets")}


def look(*, artifacts: ArtifactStore, jobs: JobStore, datasets: DatasetStore, now: datetime) -> Found:
    """Every folder of a job or data set that has no record. Raises StorageUnavailable, StoreUnavailable."""
    folders: defaultdict[tuple[str, ...], list[Stored]] = defaultdict(list)
    for stored in artifacts.list("projects/"):
        match stored.key.split("/"):
            case ["projects", project, "jobs", job_id, *_]:
                folders[project, "jobs", job_id].append(stored)
            case ["projects", project, "datasets", name, place, *_]:
                folders[project, "datasets", name, place].append(stored)
    found = Found()
    known = {project: {(each.name, each.place) for each in datasets.list(project)} for project in {owner[0] for owner in folders}}
    for owner, there in folders.items():
        folder = "/".join(("projects", *owner, ""))
        if now - _made(owner) < YOUNG:
            continue
        is_known = owner[2:] in known[owner[0]] if owner[1] == "datasets" else _is_known(jobs, owner[0], owner[2])
        if is_known:
            account = of_dataset(*owner[2:]) if owner[1] == "datasets" else of_job(owner[2])
            found.named[owner[0], account] = Usage.of(there).bytes
        elif owner[1] == "datasets":
            found.unnamed[folder] = there
        elif any(stored.key == f"{folder}job.json" for stored in there):
            found.only_stored.append(owner[2])
        else:
            found.unnamed[folder] = there
    return found


def _is_known(jobs: JobStore, project: str, job_id: str) -> bool:
    try:
        jobs.find(project, job_id)
    except JobNotFound:
        return False
    return True


def _made(place: Sequence[str]) -> datetime:
    """When a folder's owner was made: its name says so, in hex digits of milliseconds."""
    digits = place[-1].rpartition(".")[2] if place[1] == "datasets" else place[-1].removeprefix("job_")[:11]
    try:
        return datetime.fromtimestamp(int(digits, 16) / 1000).astimezone()
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0).astimezone()  # no name of ours


def count(found: Found, *, accounts: Accounts) -> None:
    """Have quotas go by what storage has: also by what was stored before there were any. Raises StoreUnavailable."""
    for (project, owner), size in found.named.items():
        accounts.charge(project, owner, size)


def remove(found: Found, *, artifacts: ArtifactStore) -> None:
    """Remove what no record names. Raises StorageUnavailable; what is removed stays so."""
    for folder, there in found.unnamed.items():
        artifacts.abort_uploads(folder)
        artifacts.delete([stored.key for stored in there])

"""Twins that stand alone: the registry of workers, changes, the doorbell, and files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import md5
from pathlib import Path

from service.adapters.memory.shelf import Attempt, Shelf
from service.adapters.stores import SILENCE_SECONDS
from service.adapters.waiting import JobWatch, Waiters
from service.jobs.errors import ArtifactNotFound
from service.jobs.job import Device, Job
from service.jobs.ports import Stored, Worked, WorkerBeat


class MemoryWorkers:
    """The WorkerRegistry."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._now = shelf, shelf.now
        self._beats: dict[str, tuple[WorkerBeat, datetime]] = {}

    def beat(self, beat: WorkerBeat) -> None:
        """Say that this worker lives; forgotten after half a minute of silence."""
        self._beats[beat.name] = (beat, self._now())

    def leave(self, name: str) -> None:
        """Say goodbye."""
        self._beats.pop(name, None)
        self._shelf.worked.pop(name, None)

    def workers(self) -> Sequence[WorkerBeat]:
        """All live workers, by name."""
        oldest = self._now() - timedelta(seconds=SILENCE_SECONDS)
        return sorted((replace(beat, at=at) for beat, at in list(self._beats.values()) if at > oldest), key=lambda beat: beat.name)

    def history(self, project: str, names: Sequence[str]) -> Mapping[str, Sequence[Worked]]:
        """The last attempts of these workers, at most 20 of each, the newest first: of the project's jobs that are still there."""
        with self._shelf.lock:
            own = {job.id: job for job in self._shelf.jobs.values() if job.project == project}
            return {
                name: [_worked(own[each.job_id], each) for each in reversed(self._shelf.worked[name]) if each.job_id in own]
                for name in names
            }


def _worked(job: Job, attempt: Attempt) -> Worked:
    return Worked(id=job.id, name=job.name, state=job.state, started_at=attempt.started_at, ended_at=attempt.ended_at)


class MemoryChanges:
    """The Changes port."""

    def __init__(self, waiters: Waiters) -> None:
        self._waiters = waiters

    def watch(self, job_id: str) -> JobWatch:
        """A watch on one job."""
        return JobWatch(job_id, self._waiters)

    async def aclose(self) -> None:
        """Wake who still waits."""
        self._waiters.wake()


class MemoryDoorbell:
    """The Doorbell: counts what it rang, per class."""

    def __init__(self) -> None:
        self.rung: defaultdict[Device, int] = defaultdict(int)

    def ring(self, device: Device, *, times: int) -> None:
        """Wake up to `times` idle slots."""
        self.rung[device] += times


class MemoryArtifacts:
    """The ArtifactStore."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:
        """Upload one file."""
        self.put_bytes(key, path.read_bytes(), content_type=content_type)

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/json") -> None:  # noqa: ARG002  # nobody asks for it back
        """Upload a small object."""
        self._objects[key] = data

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes start..end (inclusive; to the last where None), in chunks. Raises ArtifactNotFound before the first."""
        if key not in self._objects:
            raise ArtifactNotFound(key)
        return iter([self._objects[key][start : None if end is None else end + 1]])

    def list(self, prefix: str) -> Sequence[Stored]:
        """Every object under the prefix, by key."""
        return [
            Stored(key=key, size=len(data), etag=md5(data, usedforsecurity=False).hexdigest())
            for key, data in sorted(self._objects.items())
            if key.startswith(prefix)
        ]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those already gone are fine."""
        for key in keys:
            self._objects.pop(key, None)

    def abort_uploads(self, prefix: str) -> int:  # noqa: ARG002  # an object here is whole at once
        """Abandon every upload in parts under the prefix that was never completed; returns how many."""
        return 0

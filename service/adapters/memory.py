"""Twins of every store, in memory: the same manners, made of Job's own methods. For tests, and for reading what the Lua calls mean."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

from service.adapters.stores import (
    EVENTS_KEPT,
    IDEMPOTENCY_SECONDS,
    LOGS_KEPT,
    ROWS_KEPT,
    SILENCE_SECONDS,
    SWEEP_SECONDS,
    TAIL_SECONDS,
    Cursor,
    Stores,
    exactness,
    failure,
    finite,
    retries_used_up,
    rfc3339,
    to_ms,
)
from service.adapters.waiting import JobWatch, Waiters
from service.jobs.errors import ArtifactNotFound, Fenced, IdempotencyConflict, IllegalTransition, JobNotFound
from service.jobs.job import Best, CheckpointPointer, Device, Job, JobError, Progress, Transition
from service.jobs.ports import Claim, Flags, Idempotency, Outcome, Page, Report, Stored, Submitted, WorkerBeat
from service.jobs.state import JobState, Phase, Reason

Clock = Callable[[], datetime]


@dataclass
class Tail:
    """The live tail of one job."""

    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    rows: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=ROWS_KEPT))
    logs: deque[str] = field(default_factory=lambda: deque(maxlen=LOGS_KEPT))
    last_id: int = 0
    last_row: tuple[int, int] = (-1, -1)
    gone_at: datetime | None = None


@dataclass
class Shelf:
    """All that the twins share: what Redis would hold."""

    now: Clock
    lease: timedelta
    sweep: timedelta
    lock: threading.RLock = field(default_factory=threading.RLock)
    jobs: dict[str, Job] = field(default_factory=dict)
    submitted: dict[str, datetime] = field(default_factory=dict)
    tails: defaultdict[str, Tail] = field(default_factory=lambda: defaultdict(Tail))
    leases: dict[str, datetime] = field(default_factory=dict)
    retries: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Counted retries since the last checkpoint."""
    keys: dict[tuple[str, str], tuple[str, str, datetime]] = field(default_factory=dict)
    marked: dict[str, int] = field(default_factory=dict)
    unsaved: dict[str, None] = field(default_factory=dict)
    ended: dict[str, tuple[int, JobState]] = field(default_factory=dict)
    waiters: Waiters = field(default_factory=Waiters)

    def job(self, project: str, job_id: str) -> Job:
        """The project's job. Raises JobNotFound."""
        job = self.jobs.get(job_id)
        if job is None or job.project != project:
            raise JobNotFound(job_id)
        return job

    def held(self, claim: Claim) -> Job:
        """The job as its attempt's holder sees it. Raises Fenced."""
        job = self.jobs.get(claim.job.id)
        if job is None or job.state is not JobState.RUNNING or job.token != claim.token:
            raise Fenced(claim.job.id, token=claim.token)
        return job

    def keep(self, job: Job, **changes: Any) -> Job:
        """Store a change that is no change of state."""
        self.jobs[job.id] = kept = job.model_copy(update={"version": job.version + 1, **changes})
        self.waiters.wake(job.id)
        return kept

    def move(self, job: Job) -> Job:
        """Store what one of Job's methods made, tell it in an event, and call its record in storage old."""
        self.jobs[job.id] = job
        self.emit(job, {"type": "state", "message": "", "data": _told(job)})
        self.marked[job.id] = job.version
        self.unsaved[job.id] = None
        if job.state is not JobState.RUNNING:
            self.leases.pop(job.id, None)
        self.waiters.wake(job.id)
        return job

    def emit(self, job: Job, event: Mapping[str, Any]) -> None:
        """Add an event with the next id."""
        tail = self.tails[job.id]
        tail.last_id += 1
        told = {"type": event["type"], "message": event.get("message") or "", "data": dict(event.get("data") or {})}
        tail.events.append({"id": tail.last_id, "at": rfc3339(self.now()), **told})

    def give_back(self, job: Job, *, reason: Reason, counts: bool, error: JobError) -> Job:
        """Another attempt, unless it counts and no retries are left."""
        if counts and self.retries[job.id] >= job.max_retries:
            return self.move(job.failed(error=error, at=self.now()))
        self.retries[job.id] += counts
        return self.move(job.requeued(reason=reason, retries=job.retries + counts, at=self.now()))

    def waiting(self, device: Device) -> list[Job]:
        """The pending order of a class, all projects together."""
        queued = [job for job in self.jobs.values() if job.state is JobState.QUEUED and job.device == device]
        return sorted(queued, key=lambda job: (-job.priority, self.submitted[job.id], job.id))


def stores(*, now: Clock, lease_seconds: float = 60, sweep_seconds: float = SWEEP_SECONDS) -> Stores:
    """Every store, empty, on one clock."""
    shelf = Shelf(now=now, lease=timedelta(seconds=lease_seconds), sweep=timedelta(seconds=sweep_seconds))
    return Stores(
        jobs=MemoryJobs(shelf),
        attempts=MemoryAttempts(shelf),
        facts=MemoryFacts(shelf),
        housekeeping=MemoryHousekeeping(shelf),
        workers=MemoryWorkers(now),
        changes=MemoryChanges(shelf.waiters),
        ping=lambda: None,
        close=lambda: None,
    )


class MemoryJobs:
    """The JobStore."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def submit(self, job: Job, *, idempotency: Idempotency | None) -> Submitted:
        """Store the job and put it in the pending order, in one step. Raises IdempotencyConflict."""
        shelf = self._shelf
        with shelf.lock:
            if job.id in shelf.jobs:
                return Submitted(job=shelf.jobs[job.id], replayed=False)
            if idempotency:
                known = shelf.keys.get((job.project, idempotency.key))
                if known and known[2] > shelf.now():
                    if known[1] != idempotency.body_sha256:
                        raise IdempotencyConflict(idempotency.key, job_id=known[0])
                    return Submitted(job=shelf.jobs[known[0]], replayed=True)
                until = shelf.now() + timedelta(seconds=IDEMPOTENCY_SECONDS)
                shelf.keys[job.project, idempotency.key] = (job.id, idempotency.body_sha256, until)
            shelf.submitted[job.id] = shelf.now()
            first = Transition(state=JobState.QUEUED, at=shelf.now(), reason=job.reason)
            return Submitted(job=shelf.move(job.model_copy(update={"transitions": (first,), "version": 1})), replayed=False)

    def find(self, project: str, job_id: str) -> Job:
        """The job as it is now. Raises JobNotFound."""
        with self._shelf.lock:
            return self._shelf.job(project, job_id)

    def list(
        self, project: str, *, limit: int, cursor: str | None, states: Sequence[JobState], labels: Mapping[str, str], name: str | None
    ) -> Page:
        """One page, newest first. Raises ValueError for a cursor that is not ours."""
        after = Cursor.parse(cursor) if cursor else None
        with self._shelf.lock:
            places = {Cursor(to_ms(job.created_at), job.id): job for job in self._shelf.jobs.values() if job.project == project}
        found = [
            place
            for place, job in sorted(places.items(), reverse=True)
            if (after is None or place < after)
            and (not states or job.state in states)
            and labels.items() <= job.labels.items()
            and name in (None, job.name)
        ]
        page = found[:limit]
        return Page(jobs=[places[place] for place in page], next_cursor=str(page[-1]) if found[limit:] else None)

    def position(self, job: Job) -> int | None:
        """Where the job stands in its pending order, from 1; None once it waits no more."""
        with self._shelf.lock:
            ids = [other.id for other in self._shelf.waiting(job.device) if other.project == job.project]
        return ids.index(job.id) + 1 if job.id in ids else None

    def cancel(self, project: str, job_id: str) -> Job:
        """End a waiting job, flag a running one; a cancelled one stays so. Raises JobNotFound, IllegalTransition."""
        shelf = self._shelf
        with shelf.lock:
            job = shelf.job(project, job_id)
            if job.state is JobState.CANCELLED:
                return job
            if job.is_terminal:
                raise IllegalTransition(job_id, state=job.state, wanted=JobState.CANCELLED)
            if job.state is JobState.RUNNING and shelf.leases[job_id] >= shelf.now():
                return job if job.cancel_requested else shelf.keep(job, cancel_requested=True)
            return shelf.move(job.cancelled(at=shelf.now()))


class MemoryAttempts:
    """The AttemptStore."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def claim(self, *, worker: str, device: Device) -> Claim | None:
        """Take the best pending job this worker can run, with a new fencing token and a lease; None where none waits."""
        shelf = self._shelf
        with shelf.lock:
            heads: dict[str, Job] = {}
            for job in shelf.waiting(device):
                heads.setdefault(job.project, job)
            if not heads:
                return None
            running = [job.project for job in shelf.jobs.values() if job.state is JobState.RUNNING]
            best = min(heads.values(), key=lambda job: (running.count(job.project), shelf.submitted[job.id]))
            token = max(best.token + 1, to_ms(shelf.now()))
            job = shelf.move(best.claimed(owner=worker, token=token, at=shelf.now()))
            shelf.leases[job.id] = shelf.now() + shelf.lease
            return Claim(job=job, token=token, worker=worker)

    def renew(self, claim: Claim) -> Flags:
        """Push the lease out and read the user's flags. Raises Fenced."""
        with self._shelf.lock:
            job = self._shelf.held(claim)
            self._shelf.leases[job.id] = self._shelf.now() + self._shelf.lease
            return Flags(cancel=job.cancel_requested, pause=job.pause_requested)

    def checkpoint(self, claim: Claim, pointer: CheckpointPointer) -> None:
        """Make an uploaded checkpoint the one to start from; an older one than the current is ignored. Raises Fenced."""
        with self._shelf.lock:
            job = self._shelf.held(claim)
            current = (job.checkpoint.token, job.checkpoint.step) if job.checkpoint else (-1, -1)
            if (pointer.token, pointer.step) > current:
                self._shelf.retries[job.id] = 0
                self._shelf.keep(job, checkpoint=pointer)

    def finish(self, claim: Claim, outcome: Outcome) -> JobState:
        """End the attempt and say where the job went: a cancel flag wins, `give_back` obeys max_retries. Raises Fenced."""
        shelf = self._shelf
        with shelf.lock:
            ended = shelf.ended.get(claim.job.id)
            now = shelf.jobs.get(claim.job.id)
            if now and ended and now.state is not JobState.RUNNING and ended[0] == now.token == claim.token:
                return ended[1]
            job = self._ended(shelf.held(claim), outcome)
            shelf.ended[job.id] = (claim.token, job.state)
            return job.state

    def _ended(self, job: Job, outcome: Outcome) -> Job:
        shelf, error, at = self._shelf, failure(outcome), self._shelf.now()
        if job.cancel_requested or outcome.kind == "cancelled":
            return shelf.move(job.cancelled(at=at))
        if error is None:
            return shelf.move(job.succeeded(at=at))
        if outcome.kind == "give_back":
            return shelf.give_back(job, reason=outcome.reason or error.code, counts=outcome.counts, error=error)
        return shelf.move(job.failed(error=error, at=at))


class MemoryFacts:
    """The FactLog."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def report(self, claim: Claim, report: Report) -> None:
        """Record what an attempt learnt. Raises Fenced."""
        shelf = self._shelf
        with shelf.lock:
            job = shelf.held(claim)
            tail = shelf.tails[job.id]
            place = (report.row["epoch"], report.row["step"]) if report.row is not None else None
            repeated = place is not None and place <= tail.last_row
            if place is not None and report.row is not None and not repeated:
                tail.rows.append(finite(report.row))
                tail.last_row = place
            changes = _changes(job, report)
            if report.phase and report.phase != job.phase:
                step = Transition(state=JobState.RUNNING, phase=Phase(report.phase), at=shelf.now())
                job = shelf.keep(job, **changes, phase=step.phase, transitions=(*job.transitions, step))
                shelf.emit(job, {"type": "state", "data": _told(job)})
            else:
                shelf.keep(job, **changes)
            for event in report.events:
                if not (repeated and event["type"] == "epoch"):
                    shelf.emit(job, event)
            tail.logs.extend(report.logs)

    def events(self, project: str, job_id: str, *, after: int, limit: int) -> Sequence[Mapping[str, Any]] | None:
        """Events with id > after, oldest first: {id, type, at, message, data}; None once the live tail is gone."""
        tail = self._tail(project, job_id)
        return None if tail is None else [event for event in tail.events if event["id"] > after][:limit]

    def metrics(self, project: str, job_id: str) -> Sequence[Mapping[str, Any]] | None:
        """One row per finished epoch, oldest first; None once the live tail is gone."""
        tail = self._tail(project, job_id)
        return None if tail is None else list(tail.rows)

    def logs(self, project: str, job_id: str) -> Sequence[str] | None:
        """Log lines, oldest first; None once the live tail is gone."""
        tail = self._tail(project, job_id)
        return None if tail is None else list(tail.logs)

    def _tail(self, project: str, job_id: str) -> Tail | None:
        with self._shelf.lock:
            self._shelf.job(project, job_id)
            tail = self._shelf.tails[job_id]
            return None if tail.gone_at and tail.gone_at <= self._shelf.now() else tail


class MemoryHousekeeping:
    """The Housekeeping port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._last: datetime | None = None
        self._grace_until: datetime | None = None

    def expire(self) -> Sequence[str]:
        """Give back (or end) every job whose lease has died; returns their ids. Does nothing right after a gap in sweeping."""
        shelf = self._shelf
        with shelf.lock:
            now = shelf.now()
            if self._last is None or now - self._last > 2 * shelf.sweep:
                self._grace_until = now + shelf.lease
            self._last = now
            if self._grace_until and now < self._grace_until:
                return []
            dead = [job_id for job_id, until in shelf.leases.items() if until < now]
            for job_id in dead:
                job = shelf.jobs[job_id]
                if job.cancel_requested:
                    shelf.move(job.cancelled(at=now))
                else:
                    shelf.give_back(job, reason=Reason.WORKER_LOST, counts=True, error=retries_used_up(Reason.WORKER_LOST))
            return dead

    def pending(self) -> Mapping[Device, int]:
        """How many jobs wait, per class."""
        with self._shelf.lock:
            return {"cpu": len(self._shelf.waiting("cpu")), "gpu": len(self._shelf.waiting("gpu"))}

    def unsaved(self, limit: int) -> Sequence[Job]:
        """Jobs whose record in S3 is older than the one here."""
        with self._shelf.lock:
            return [self._shelf.jobs[job_id] for job_id in list(self._shelf.unsaved)[:limit]]

    def saved(self, job: Job) -> None:
        """The record was written; the live tail of a terminal job expires within the hour."""
        with self._shelf.lock:
            if job.version < self._shelf.marked[job.id]:
                self._shelf.unsaved[job.id] = None
                return
            self._shelf.unsaved.pop(job.id, None)
            tail = self._shelf.tails[job.id]
            if self._shelf.jobs[job.id].is_terminal and tail.gone_at is None:
                tail.gone_at = self._shelf.now() + timedelta(seconds=TAIL_SECONDS)


class MemoryWorkers:
    """The WorkerRegistry."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._beats: dict[str, tuple[WorkerBeat, datetime]] = {}

    def beat(self, beat: WorkerBeat) -> None:
        """Say that this worker lives; forgotten after half a minute of silence."""
        self._beats[beat.name] = (beat, self._now())

    def leave(self, name: str) -> None:
        """Say goodbye."""
        self._beats.pop(name, None)

    def workers(self) -> Sequence[WorkerBeat]:
        """All live workers, by name."""
        oldest = self._now() - timedelta(seconds=SILENCE_SECONDS)
        return sorted((beat for beat, at in list(self._beats.values()) if at > oldest), key=lambda beat: beat.name)


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


def _told(job: Job) -> dict[str, Any]:
    told = {"state": job.state.value, "attempt": job.attempt, "phase": job.phase, "reason": job.reason}
    return {name: value for name, value in told.items() if value is not None}


def _changes(job: Job, report: Report) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "metrics": job.metrics | finite(report.metrics),
        "warnings": tuple(dict.fromkeys((*job.warnings, *report.warnings))),
        "dataset_digest": report.dataset_digest or job.dataset_digest,
    }
    if report.progress is not None:
        changes["progress"] = Progress(**report.progress)
    if report.inexact:
        changes["exactness"] = exactness((*job.exactness.reasons, report.inexact))
    if report.best is not None:
        changes["best"] = Best(**report.best)
    if report.resolved_spec is not None:
        changes["resolved_spec"] = dict(report.resolved_spec)
    return changes

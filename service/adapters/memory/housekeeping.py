"""Twins of what sweepers do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from service.adapters.memory.others import MemoryWorkers
from service.adapters.memory.shelf import Shelf
from service.adapters.stores import PASSES, TAIL_SECONDS, retries_used_up
from service.jobs.job import Device, Job, Transition
from service.jobs.ports import Demand, IdempotencyKey
from service.jobs.state import JobState, Reason
from service.jobs.steps import Step


class MemoryHousekeeping:
    """The Housekeeping port."""

    def __init__(self, shelf: Shelf, workers: MemoryWorkers) -> None:
        self._shelf, self._workers = shelf, workers
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
                shelf.lose(job)
                if job.cancel_requested:
                    shelf.move(job.cancelled(at=now))
                else:
                    shelf.give_back(job, reason=Reason.WORKER_LOST, counts=True, error=retries_used_up(Reason.WORKER_LOST))
            return dead

    def demand(self) -> Mapping[Device, Demand]:
        """How many jobs wait and how many slots are idle, per class."""
        devices: tuple[Device, ...] = ("cpu", "gpu")
        with self._shelf.lock:
            waiting = {device: len(self._shelf.waiting(device)) for device in devices}
        return {device: Demand.of(device, waiting=count, workers=self._workers.workers()) for device, count in waiting.items()}

    def unsaved(self, limit: int) -> Sequence[Job]:
        """Jobs whose record in S3 is older than the one here."""
        with self._shelf.lock:
            return [self._shelf.jobs[job_id] for job_id in list(self._shelf.unsaved)[:limit]]

    def saved(self, job: Job) -> None:
        """The record was written; the live tail of a terminal job expires within the hour."""
        with self._shelf.lock:
            if job.id not in self._shelf.jobs:
                self._shelf.tidy_after(job.project, job.id)
                return
            now = self._shelf.jobs[job.id]
            same = (job.state, job.token, job.finished_at) == (now.state, now.token, now.finished_at)
            if job.version < self._shelf.marked[job.id] or not same:
                self._shelf.unsaved.setdefault(job.id, self._shelf.now())
                return
            self._shelf.unsaved.pop(job.id, None)
            tail = self._shelf.tails[job.id]
            if now.is_terminal and tail.gone_at is None:
                tail.gone_at = self._shelf.now() + timedelta(seconds=TAIL_SECONDS)


class MemoryDisposal:
    """The Disposal port."""

    def __init__(self, shelf: Shelf, *, again: timedelta) -> None:
        self._shelf, self._again = shelf, again

    def deleted(self, limit: int) -> Sequence[tuple[str, str]]:
        """(project, id) of deleted jobs whose objects are to be removed now."""
        return self._due("deleted", limit)

    def erased(self, project: str, job_id: str) -> None:
        """They were."""
        self._swept("deleted", project, job_id)

    def littered(self, limit: int) -> Sequence[tuple[str, str]]:
        """(project, id) of ended jobs among whose objects leftovers are to be looked for now."""
        return self._due("garbage", limit)

    def collected(self, project: str, job_id: str) -> None:
        """They were looked for, and removed."""
        self._swept("garbage", project, job_id)

    def litter(self, project: str, job_id: str) -> None:
        """A fenced attempt may have left something: look again once the job has ended, or at once if it has."""
        with self._shelf.lock:
            job = self._shelf.jobs.get(job_id)
            if job is None:
                self._shelf.tidy_after(project, job_id)
            elif job.is_terminal:
                self._shelf.litter("garbage", project, job_id)

    def _due(self, kind: str, limit: int) -> Sequence[tuple[str, str]]:
        with self._shelf.lock:
            due = self._shelf.due[kind]
            return [place for place in sorted(due, key=lambda place: due[place]) if due[place] <= self._shelf.now()][:limit]

    def _swept(self, kind: str, project: str, job_id: str) -> None:
        with self._shelf.lock:
            place = (kind, project, job_id)
            self._shelf.passes[place] += 1
            if self._shelf.passes[place] < PASSES:
                self._shelf.due[kind][project, job_id] = self._shelf.now() + self._again
            else:
                self._shelf.due[kind].pop((project, job_id), None)
                self._shelf.passes.pop(place)


class MemoryRebuilding:
    """The Rebuilding port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def is_empty(self) -> bool:
        """Whether there is no job."""
        return not self._shelf.jobs

    def idempotency_keys(self) -> Sequence[IdempotencyKey]:
        """All that are not forgotten yet."""
        with self._shelf.lock:
            living = {place: known for place, known in self._shelf.keys.items() if known[2] > self._shelf.now()}
        return [IdempotencyKey(*place, job_id, body, until.timestamp()) for place, (job_id, body, until) in living.items()]

    def restore_idempotency_keys(self, keys: Sequence[IdempotencyKey]) -> None:
        """Put them back, but for those that are here and those whose time is over."""
        with self._shelf.lock:
            for each in keys:
                until = datetime.fromtimestamp(each.until, UTC)
                if until > self._shelf.now():
                    self._shelf.keys.setdefault((each.project, each.key), (each.job_id, each.body_sha256, until))

    def restore(self, job: Job, *, rows: Sequence[Mapping[str, Any]], steps: Sequence[Step] = ()) -> bool:
        """Store the record unless one is here; one that ran waits again. False where there was nothing to do."""
        shelf = self._shelf
        with shelf.lock:
            if job.id in shelf.jobs or (job.project, job.id) in shelf.due["deleted"]:
                return False
            shelf.submitted[job.id] = job.created_at
            shelf.tails[job.id].begin(rows, steps)
            fresh = job.model_copy(update={"pause_requested": False, "owner": None})
            if job.is_terminal:
                shelf.tails[job.id].gone_at = shelf.now()
                shelf.successes[job.project] += job.state is JobState.SUCCEEDED
                shelf.jobs[job.id], shelf.marked[job.id] = fresh, job.version
                shelf.litter("garbage", job.project, job.id)
            elif job.state is JobState.RUNNING:
                shelf.move(fresh.requeued(reason=Reason.WORKER_LOST, retries=job.retries, at=shelf.now()))
            else:
                step = Transition(state=job.state, at=shelf.now(), reason=job.reason)
                shelf.move(fresh.model_copy(update={"version": job.version + 1, "transitions": (*job.transitions, step)}), announced=False)
            return True

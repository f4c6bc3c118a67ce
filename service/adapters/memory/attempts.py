"""Twins of what attempts write to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from service.access.quota import of_job
from service.adapters.memory.shelf import Attempt, Shelf, Tail, told
from service.adapters.stores import exactness, failure, finite, newer_spec, reason_of, to_ms
from service.jobs.job import NEWER_SPEC, Best, CheckpointPointer, Device, Job, Progress, Transition
from service.jobs.ports import Claim, Flags, Outcome, Report, TailPart
from service.jobs.rows import json_lines
from service.jobs.state import JobState, Phase, Reason
from service.jobs.steps import Steps
from service.spec.job import SPEC_VERSION

LOOKED_AT = 32
"""How far into a project's pending order a worker looks for a job that it understands."""


class MemoryAttempts:
    """The AttemptStore."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def claim(self, *, worker: str, device: Device, free_gpus: int = 1, most_gpus: int = 1) -> Claim | None:
        """Take the best pending job this worker can run, with a new fencing token and a lease; None where none waits, or one for which GPUs are kept.

        The best is of the project, under its limit, with the fewest running jobs.
        """
        shelf = self._shelf
        with shelf.lock:
            running = Counter(job.project for job in shelf.jobs.values() if job.state is JobState.RUNNING)
            pending: dict[str, list[Job]] = {}
            for job in shelf.waiting(device):
                pending.setdefault(job.project, []).append(job)
            for project in list(pending):
                if not self._may_run(pending[project][0], running[project]):
                    del pending[project]
            order = sorted(pending, key=lambda project: (running[project], shelf.submitted[pending[project][0].id], project))
            enough = (job for project in order for job in pending[project][:LOOKED_AT] if device == "cpu" or job.gpus <= most_gpus)
            best = next((job for job in enough if self._understood(job)), None)
            if best is None or (device == "gpu" and best.gpus > free_gpus):
                return None
            if best.started_at is None:
                shelf.observe("wait", best)
            token = max(best.token + 1, to_ms(shelf.now()))
            warnings = tuple(each for each in best.warnings if each.code != NEWER_SPEC)
            job = shelf.move(best.claimed(owner=worker, token=token, at=shelf.now()).model_copy(update={"warnings": warnings}))
            shelf.leases[job.id] = shelf.now() + shelf.lease
            shelf.metered[job.id] = shelf.now()
            shelf.spent.discard(job.id)
            shelf.worked[worker].append(Attempt(job_id=job.id, token=token, started_at=shelf.now()))
            return Claim(job=job, token=token, worker=worker)

    def _may_run(self, head: Job, running: int) -> bool:
        """Whether the project of a waiting job is within its quota; if its GPU hours keep it back, the job says so, once."""
        shelf = self._shelf
        if head.device == "gpu" and shelf.is_spent(head.project):
            if head.reason != Reason.GPU_HOURS:
                shelf.mark(shelf.keep(head, reason=Reason.GPU_HOURS))
            return False
        most = shelf.quota(head.project).running
        return most is None or running < most

    def _understood(self, job: Job) -> bool:
        """Whether this worker may take the job; if not, it says so once."""
        if job.understood_from <= SPEC_VERSION:
            return True
        left = newer_spec(SPEC_VERSION)
        if left.code not in {each.code for each in job.warnings}:
            job = self._shelf.keep(job, reason=Reason.WAITING_FOR_WORKER, warnings=(*job.warnings, left))
            self._shelf.mark(job)
            self._shelf.emit(job, {"type": "warning", "message": left.detail})
        return False

    def renew(self, claim: Claim) -> Flags:
        """Push the lease out and read the user's flags. Raises Fenced."""
        with self._shelf.lock:
            job = self._shelf.held(claim)
            self._shelf.leases[job.id] = self._shelf.now() + self._shelf.lease
            self._shelf.meter(job)
            if job.device == "gpu" and self._shelf.is_spent(job.project):
                self._shelf.spent.add(job.id)
            return Flags(cancel=job.cancel_requested, pause=job.pause_requested or job.id in self._shelf.spent)

    def checkpoint(self, claim: Claim, pointer: CheckpointPointer, *, keep: int) -> Sequence[CheckpointPointer]:
        """Make an uploaded checkpoint the one to start from, and answer those that are not among the `keep` newest any more.

        An older one than the current is ignored. Raises Fenced.
        """
        with self._shelf.lock:
            job = self._shelf.held(claim)
            current = (job.checkpoint.token, job.checkpoint.step) if job.checkpoint else (-1, -1)
            if (pointer.token, pointer.step) <= current:
                return ()
            self._shelf.retries[job.id] = 0
            older = () if job.borrowed_from else job.checkpoints
            job = self._shelf.keep(job, checkpoints=(pointer, *older[: keep - 1]))
            self._shelf.charge(job.project, of_job(job.id), sum(each.size for each in job.checkpoints))
            self._shelf.mark(job)
            return older[keep - 1 :]

    def finish(self, claim: Claim, outcome: Outcome) -> JobState:
        """End the attempt and say where the job went: a cancel flag wins, `give_back` obeys max_retries. Raises Fenced."""
        shelf = self._shelf
        with shelf.lock:
            ended = shelf.ended.get(claim.job.id)
            now = shelf.jobs.get(claim.job.id)
            if now and ended and now.state is not JobState.RUNNING and ended[0] == now.token == claim.token:
                return ended[1]
            shelf.meter(shelf.held(claim))
            job = self._ended(shelf.held(claim), outcome)
            shelf.counts["attempt", job.device, outcome.kind, reason_of(outcome)] += 1
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
            tail.log(report.steps)
            changes = _changes(job, report)
            if report.phase and report.phase != job.phase:
                step = Transition(state=JobState.RUNNING, phase=Phase(report.phase), at=shelf.now())
                job = shelf.keep(job, **changes, phase=step.phase, transitions=(*job.transitions, step))
                shelf.emit(job, {"type": "state", "data": told(job)})
            else:
                shelf.keep(job, **changes)
            for event in report.events:
                if event["type"] == "first_step" and job.attempt == 1 and job.id not in shelf.began:
                    shelf.began.add(job.id)
                    shelf.observe("first_step", job)
                if not (repeated and event["type"] == "epoch"):
                    shelf.emit(job, event)
            tail.logs.extend(report.logs)

    def events(self, project: str, job_id: str, *, after: int, limit: int) -> Sequence[Mapping[str, Any]] | None:
        """Events with id > after, oldest first: {id, type, at, message, data}; None once the live tail is gone."""
        tail = self._tail(project, job_id)
        return None if tail is None else [event for event in tail.events if event["id"] > after][:limit]

    def metrics(self, project: str, job_id: str, *, after: int = -1) -> Sequence[Mapping[str, Any]] | None:
        """One row per finished epoch, those with a greater step, oldest first; None once the live tail is gone."""
        tail = self._tail(project, job_id)
        return None if tail is None else [row for row in tail.rows if row["step"] > after]

    def steps(self, project: str, job_id: str, *, after: int = -1) -> Steps | None:
        """Logged steps with a greater number, oldest first; None once the live tail is gone."""
        tail = self._tail(project, job_id)
        return None if tail is None else Steps.of(tail.steps).after(after)

    def lines(self, project: str, job_id: str, part: TailPart, *, after: int = -1) -> bytes | None:
        """What `metrics` or `steps` answers as its JSON, a row on each line."""
        found = self.metrics(project, job_id, after=after) if part == "rows" else self.steps(project, job_id, after=after)
        return None if found is None else json_lines(found)

    def logs(self, project: str, job_id: str, *, last: int | None = None) -> Sequence[str] | None:
        """Log lines, oldest first, of them the `last` so many; None once the live tail is gone."""
        tail = self._tail(project, job_id)
        return None if tail is None else list(tail.logs)[-(last or 0) :]

    def _tail(self, project: str, job_id: str) -> Tail | None:
        with self._shelf.lock:
            self._shelf.job(project, job_id)
            tail = self._shelf.tails[job_id]
            return None if tail.gone_at and tail.gone_at <= self._shelf.now() else tail


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

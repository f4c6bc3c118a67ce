"""Twins of the stores that users' requests go to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from service.adapters.memory.others import MemoryWorkers
from service.adapters.memory.shelf import Shelf
from service.adapters.stores import IDEMPOTENCY_SECONDS, to_ms
from service.jobs.errors import DatasetNotFound, IdempotencyConflict, IllegalTransition, Outdated, StillNeeded
from service.jobs.job import Device, Job, Transition
from service.jobs.listing import SORTED_AMONG, Cursor, Order, Wanted, summary_of
from service.jobs.ports import NONE, Ahead, Idempotency, JobStore, Outlook, Page, Queue, Stamp, Submitted
from service.jobs.state import JobState
from service.jobs.steps import Step


class MemoryJobs:
    """The JobStore."""

    def __init__(self, shelf: Shelf, workers: MemoryWorkers) -> None:
        self._shelf, self._workers = shelf, workers

    def submit(
        self,
        job: Job,
        *,
        idempotency: Idempotency | None,
        rows: Sequence[Mapping[str, Any]] = (),
        steps: Sequence[Step] = (),
        outlook: Outlook | None = None,
    ) -> Submitted:
        """Store the job and put it in the pending order, in one step. Raises IdempotencyConflict, and Outdated where `outlook` is.

        `rows` are metric rows, and `steps` logged steps, that it starts with. With `retry_of`, a living retry of the same job is the answer.
        """
        shelf = self._shelf
        with shelf.lock:
            if job.id in shelf.jobs:
                return Submitted(job=shelf.jobs[job.id], replayed=False)
            if idempotency:
                known = shelf.keys.get((job.project, idempotency.key))
                if known and known[2] > shelf.now() and known[0] in shelf.jobs:
                    if known[1] != idempotency.body_sha256:
                        raise IdempotencyConflict(idempotency.key, job_id=known[0])
                    return Submitted(job=shelf.jobs[known[0]], replayed=True)
            if outlook and outlook.stamp != self._stamp(job.project):
                raise Outdated
            self._check_data(job)
            again = self._living_retry(job)
            if again:
                return Submitted(job=again, replayed=True)
            shelf.check_quota(job)
            if idempotency:
                until = shelf.now() + timedelta(seconds=IDEMPOTENCY_SECONDS)
                shelf.keys[job.project, idempotency.key] = (job.id, idempotency.body_sha256, until)
            if job.retry_of:
                shelf.retried_as[job.retry_of] = job.id
                if job.borrowed_from and job.borrowed_from not in shelf.jobs:  # deleted, and the checkpoint with it
                    job, rows, steps = job.model_copy(update={"checkpoints": ()}), (), ()
            shelf.tails[job.id].begin(rows, steps)
            shelf.submitted[job.id] = shelf.now()
            first = Transition(state=JobState.QUEUED, at=shelf.now(), reason=job.reason)
            job = shelf.move(job.model_copy(update={"transitions": (first,), "version": 1}))
            shelf.counts["submitted", job.device] += 1
            idle = any(worker.device == job.device and worker.busy < worker.slots for worker in self._workers.workers())
            return Submitted(job=job, replayed=False, position=self.position(job), rings=idle)

    def outlook(self, project: str, *, limit: int) -> Outlook:
        """How things are now, with so many finished jobs."""
        with self._shelf.lock:
            finished = self.list(project, limit=limit, cursor=None, states=[JobState.SUCCEEDED]).jobs
            return Outlook(stamp=self._stamp(project), devices=self._devices(), job_gpus=self._job_gpus(), finished=finished)

    def _devices(self) -> frozenset[Device]:
        return frozenset(worker.device for worker in self._workers.workers())

    def _job_gpus(self) -> int:
        return max((worker.job_gpus for worker in self._workers.workers() if worker.device == "gpu"), default=0)

    def _stamp(self, project: str) -> str:
        return " ".join((*sorted(self._devices()), str(self._job_gpus()), str(self._shelf.successes[project])))

    def _living_retry(self, job: Job) -> Job | None:
        """Of the job that this one is to retry. Raises JobNotFound."""
        if not job.retry_of:
            return None
        self._shelf.job(job.project, job.retry_of)
        again = self._shelf.jobs.get(self._shelf.retried_as.get(job.retry_of, ""))
        return again if again and not again.is_terminal else None

    def _check_data(self, job: Job) -> None:
        if job.upload and (job.project, *job.upload) not in self._shelf.datasets:
            raise DatasetNotFound(*job.upload)

    def find(self, project: str, job_id: str) -> Job:
        """The job as it is now. Raises JobNotFound."""
        with self._shelf.lock:
            return self._shelf.job(project, job_id)

    def list(
        self,
        project: str,
        *,
        limit: int,
        cursor: str | None,
        states: Sequence[JobState] = (),
        labels: Mapping[str, str] = NONE,
        name: str | None = None,
        text: str | None = None,
        sort: str = "created_at",
    ) -> Page:
        """One page, newest first, or sorted as `listing.Order` says. Raises ValueError for a sort or cursor that is not ours."""
        wanted, order = Wanted(labels=labels, name=name, text=text), Order.parse(sort)
        with self._shelf.lock:
            places = {Cursor(to_ms(job.created_at), job.id): job for job in self._shelf.jobs.values() if job.project == project}
        summaries = [summary_of(places[place], place) for place in sorted(places, reverse=True)]
        found = [each for each in summaries if (not states or each.state in states) and wanted.has(each)]
        only = None
        if order.is_newest_first:
            after = Cursor.parse(cursor) if cursor else None
            ahead = [each.place for each in found if after is None or each.place < after]
            page, following = ahead[:limit], str(ahead[limit - 1]) if ahead[limit:] else None
        else:
            only = SORTED_AMONG if found[SORTED_AMONG:] else None
            page, following = order.page(found[:SORTED_AMONG], after=cursor, limit=limit)
        return Page(jobs=[places[place] for place in page], next_cursor=following, only_newest=only)

    def counts(self, project: str) -> Mapping[JobState, int]:
        """How many jobs are in each state."""
        with self._shelf.lock:
            states = Counter(job.state for job in self._shelf.jobs.values() if job.project == project)
        return {state: states[state] for state in JobState}

    def position(self, job: Job) -> int | None:
        """Where the job stands in its pending order, from 1; None once it waits no more."""
        with self._shelf.lock:
            ids = [other.id for other in self._shelf.waiting(job.device) if other.project == job.project]
        return ids.index(job.id) + 1 if job.id in ids else None

    def ahead(self, job: Job, *, limit: int) -> Ahead | None:
        """What has to end before the job starts.

        None where it does not wait, more than `limit` are before it or one that has no estimate, or other projects take turns.
        """
        with self._shelf.lock:
            waiting = self._shelf.waiting(job.device)
            running = [each for each in self._shelf.jobs.values() if each.state is JobState.RUNNING and each.device == job.device]
        ids = [each.id for each in waiting]
        if job.id not in ids[: limit + 1] or {each.project for each in (*waiting, *running)} != {job.project}:
            return None
        before = waiting[: ids.index(job.id)]
        if any(each.estimate is None or each.estimate.seconds_per_epoch is None for each in before):
            return None
        return Ahead(
            running=sorted(running, key=lambda each: self._shelf.leases[each.id]),
            waiting=before,
            most=self._shelf.quota(job.project).running,
        )

    def queue(self, project: str, device: Device, *, limit: int) -> Queue:
        """What waits and runs in a class, `limit` of what waits."""
        with self._shelf.lock:
            waiting = self._shelf.waiting(device)
            held = [each for each in self._shelf.jobs.values() if each.state is JobState.RUNNING and each.device == device]
        running = sorted((each for each in held if each.project == project), key=lambda each: self._shelf.leases[each.id])
        own = [each for each in waiting if each.project == project]
        alone = {each.project for each in (*waiting, *held)} <= {project}
        return Queue(waiting=len(own), jobs=own[:limit], running=running, alone=alone, most=self._shelf.quota(project).running)


class MemoryIntake:
    """The Intake port."""

    def __init__(self, jobs: MemoryJobs) -> None:
        self._jobs = jobs

    async def submit(self, job: Job, *, shape: str, idempotency: Idempotency | None, outlook: Outlook | None) -> Submitted:  # noqa: ARG002  # nothing is compressed here
        """As JobStore.submit. Raises IdempotencyConflict, Outdated."""
        return self._jobs.submit(job, idempotency=idempotency, outlook=outlook)

    async def aclose(self) -> None:
        """Nothing to let go."""


class MemoryStamps:
    """The Stamps port, of any JobStore."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    async def of(self, project: str, job_id: str) -> Stamp:
        """One job's. Raises JobNotFound."""
        job = self._jobs.find(project, job_id)
        return Stamp(_words(job), job.state)

    async def of_newest(self, project: str, *, limit: int) -> str:
        """Another text as soon as anything of the project's newest jobs is another, or where they stand in the queue."""
        jobs = self._jobs.list(project, limit=limit, cursor=None).jobs
        return "\n".join(f"{job.id}|{_words(job)}|{self._jobs.position(job) or ''}" for job in jobs)

    async def aclose(self) -> None:
        """Nothing to let go."""


def _words(job: Job) -> str:
    return f"{job.version}|{job.token}|{job.created_at.isoformat()}"


class MemoryRequests:
    """The Requests port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def cancel(self, project: str, job_id: str) -> Job:
        """End a waiting or paused job, flag a running one; a cancelled one stays so."""
        shelf = self._shelf
        with shelf.lock:
            if (job := shelf.job(project, job_id)).state is JobState.CANCELLED:
                return job
            job = self._living(project, job_id, wanted=JobState.CANCELLED)
            if self._held(job):
                return job if job.cancel_requested else shelf.keep(job, cancel_requested=True)
            shelf.lose(job)
            return shelf.move(job.cancelled(at=shelf.now()))

    def pause(self, project: str, job_id: str) -> Job:
        """Set a waiting job aside, flag a running one; a paused one stays so."""
        shelf = self._shelf
        with shelf.lock:
            job = self._living(project, job_id, wanted=JobState.PAUSED)
            if self._held(job):
                return job if job.pause_requested else shelf.keep(job, pause_requested=True)
            if job.state is JobState.PAUSED:
                return job
            shelf.lose(job)
            return shelf.move((job.cancelled if job.cancel_requested else job.paused)(at=shelf.now()))

    def resume(self, project: str, job_id: str) -> Job:
        """Put a paused job back where it stood; take the flag from a running one."""
        shelf = self._shelf
        with shelf.lock:
            job = self._living(project, job_id, wanted=JobState.QUEUED)
            if job.state is JobState.PAUSED:
                return shelf.move(job.resumed(at=shelf.now()))
            return shelf.keep(job, pause_requested=False) if job.pause_requested else job

    def delete(self, project: str, job_id: str) -> None:
        """Take an ended job's record away, and leave its objects to the sweepers. Raises StillNeeded."""
        shelf = self._shelf
        with shelf.lock:
            job = shelf.job(project, job_id)
            if not job.is_terminal:
                raise IllegalTransition(job_id, state=job.state, wanted="deleted")
            for other in shelf.jobs.values():
                if other.borrowed_from == job_id and not other.is_terminal:
                    raise StillNeeded(job_id, by=other.id)
            shelf.due["garbage"].pop((project, job_id), None)
            shelf.passes.pop(("garbage", project, job_id), None)
            shelf.litter("deleted", project, job_id)
            shelf.gone.add(job_id)
            shelf.successes[project] += job.state is JobState.SUCCEEDED
            for kept in (shelf.jobs, shelf.submitted, shelf.unsaved, shelf.marked):
                kept.pop(job_id, None)
            for posted in shelf.posted_of(job_id):
                del shelf.posted[posted.delivery.id]
            shelf.tails.pop(job_id, None)
            shelf.waiters.wake(job_id)

    def _living(self, project: str, job_id: str, *, wanted: str) -> Job:
        job = self._shelf.job(project, job_id)
        if job.is_terminal:
            raise IllegalTransition(job_id, state=job.state, wanted=wanted)
        return job

    def _held(self, job: Job) -> bool:
        return job.state is JobState.RUNNING and self._shelf.leases[job.id] >= self._shelf.now()

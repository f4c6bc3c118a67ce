"""What the twins share: what Redis would hold, and the moves that every caller makes."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from service.access.quota import GPU_DAYS, NO_QUOTA, Quota, QuotaExceeded
from service.adapters.stores import (
    DELIVERIES_KEPT,
    EVENTS_KEPT,
    LOGS_KEPT,
    ROWS_KEPT,
    STEPS_KEPT,
    WORKED_KEPT,
    finite,
    from_ms,
    rfc3339,
    to_ms,
)
from service.adapters.waiting import Waiters
from service.datasets.record import DatasetVersion
from service.jobs.errors import Fenced, JobNotFound
from service.jobs.job import Device, Job, JobError
from service.jobs.ports import WITHIN_SECONDS, Claim
from service.jobs.state import JobState, Reason
from service.jobs.steps import Step
from service.spec.notify import placed
from service.webhooks.delivery import Delivery, DeliveryState, Facts
from service.webhooks.ports import Secret

Clock = Callable[[], datetime]
DAY_MS, HOUR_MS = 86_400_000, 3_600_000


@dataclass
class Tail:
    """The live tail of one job."""

    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    rows: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=ROWS_KEPT))
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=STEPS_KEPT))
    logs: deque[str] = field(default_factory=lambda: deque(maxlen=LOGS_KEPT))
    last_id: int = 0
    last_row: tuple[int, int] = (-1, -1)
    last_step: float = -1
    gone_at: datetime | None = None

    def begin(self, rows: Sequence[Mapping[str, Any]], steps: Sequence[Step]) -> None:
        """With what was told before."""
        self.rows.extend(finite(row) for row in rows)
        self.last_row = (rows[-1]["epoch"], rows[-1]["step"]) if rows else (-1, -1)
        self.last_step = -1
        self.log(steps)

    def log(self, steps: Sequence[Step]) -> None:
        """Add those steps that are newer than all that are here."""
        for step in steps:
            if (at := step[0] or 0) > self.last_step:
                self.last_step = at
                self.steps.append(step)


@dataclass
class Attempt:
    """What a worker was at."""

    job_id: str
    token: int
    started_at: datetime
    ended_at: datetime | None = None


@dataclass
class Posted:
    """A delivery, and who sends it."""

    delivery: Delivery
    endpoint: int
    lease: int | None = None
    gone_at: datetime | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Whose, and where to."""
        return self.delivery.project, placed(self.delivery.url).origin

    @property
    def due_ms(self) -> int:
        """When it is to be sent; while it is being sent, when somebody else may."""
        return self.lease or (to_ms(self.delivery.next_attempt_at) if self.delivery.next_attempt_at else 0)

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be sent now."""
        return self.delivery.state is DeliveryState.PENDING and self.due_ms <= to_ms(now)

    def is_sent(self, now: datetime) -> bool:
        """Whether somebody is sending it."""
        return self.lease is not None and self.lease > to_ms(now)


@dataclass
class Shelf:
    """All that the twins share: what Redis would hold."""

    now: Clock
    lease: timedelta
    sweep: timedelta
    lock: threading.RLock = field(default_factory=threading.RLock)
    jobs: dict[str, Job] = field(default_factory=dict)
    submitted: dict[str, datetime] = field(default_factory=dict)
    retried_as: dict[str, str] = field(default_factory=dict)
    due: dict[str, dict[tuple[str, str], datetime]] = field(default_factory=lambda: {"garbage": {}, "deleted": {}})
    """(project, id) of jobs that sweepers have to look at, by the time when."""
    gone: set[str] = field(default_factory=set)
    """Jobs that were deleted."""
    passes: defaultdict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    tails: defaultdict[str, Tail] = field(default_factory=lambda: defaultdict(Tail))
    leases: dict[str, datetime] = field(default_factory=dict)
    retries: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Counted retries since the last checkpoint."""
    keys: dict[tuple[str, str], tuple[str, str, datetime]] = field(default_factory=dict)
    marked: dict[str, int] = field(default_factory=dict)
    unsaved: dict[str, datetime] = field(default_factory=dict)
    """Since when."""
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """What monitors are told: see Standing."""
    began: set[str] = field(default_factory=set)
    """Jobs that have taken a first step."""
    ended: dict[str, tuple[int, JobState]] = field(default_factory=dict)
    successes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often a project's succeeded jobs changed."""
    datasets: dict[tuple[str, str, str], DatasetVersion] = field(default_factory=dict)
    """Uploaded data sets by project, name and version."""
    common: Quota = NO_QUOTA
    """Of projects that have none of their own."""
    quotas: dict[str, Quota] = field(default_factory=dict)
    stored: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """Bytes in storage by project and owner."""
    reserved: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """Whose bytes are on their way, and until when that is believed."""
    gpu_time: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """In ms, by project and day."""
    metered: dict[str, datetime] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)
    """Running jobs whose project has used its GPU hours up."""
    worked: defaultdict[str, deque[Attempt]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=WORKED_KEPT)))
    """The last attempts of each worker, the newest last."""
    posted: dict[str, Posted] = field(default_factory=dict)
    told_off: set[tuple[str, int]] = field(default_factory=set)
    """Endpoints, by job and number, that want nothing more."""
    unreachable: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """Origins, by project, where nobody answered at last, and until when that is remembered."""
    secrets: dict[str, Secret] = field(default_factory=dict)
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

    def move(self, job: Job, *, announced: bool = True) -> Job:
        """Store what one of Job's methods made, tell it in an event and whoever wants to hear, and call its record in storage old."""
        self.jobs[job.id] = job
        self.emit(job, {"type": "state", "message": "", "data": told(job)})
        self.mark(job)
        if announced:
            self.announce(job)
        if job.state is not JobState.RUNNING:
            self.leases.pop(job.id, None)
            for attempt in (each for attempts in self.worked.values() for each in attempts):
                if (attempt.job_id, attempt.token, attempt.ended_at) == (job.id, job.token, None):
                    attempt.ended_at = self.now()
        self.successes[job.project] += job.state is JobState.SUCCEEDED
        if job.is_terminal:
            self.counts["ended", job.device, job.state, job.reason or ""] += 1
            self.litter("garbage", job.project, job.id)
        self.waiters.wake(job.id)
        return job

    def mark(self, job: Job) -> None:
        """The record in storage is old."""
        self.marked[job.id] = job.version
        self.unsaved.setdefault(job.id, self.now())

    def lose(self, job: Job) -> None:
        """An attempt, if one ran, is given up: its lease has died."""
        if job.state is JobState.RUNNING:
            self.counts["attempt", job.device, "lost", Reason.WORKER_LOST] += 1

    def observe(self, name: str, job: Job) -> None:
        """So long did the job take from its submit on."""
        ms = max(0, to_ms(self.now()) - to_ms(self.submitted[job.id]))
        within = next((bound for bound in WITHIN_SECONDS if ms <= float(bound) * 1000), "+Inf")
        self.counts[name, job.device, within] += 1
        self.counts[name, job.device, "ms"] += ms

    def announce(self, job: Job) -> None:
        """Have everybody told who wants to hear of this state."""
        if not job.is_terminal and len(self.posted_of(job.id)) >= DELIVERIES_KEPT:
            return
        facts = Facts(name=job.name, reason=job.reason, attempt=job.attempt, metrics=job.metrics)
        at = from_ms(to_ms(self.now()))
        for number, endpoint in enumerate(job.notify, 1):
            if job.state in endpoint.events and (job.id, number) not in self.told_off:
                of = f"{job.id}|{to_ms(at)}|{self.tails[job.id].last_id}|{number}"
                delivery = Delivery(
                    id=f"msg_{hashlib.sha1(of.encode(), usedforsecurity=False).hexdigest()[:24]}",
                    project=job.project,
                    job_id=job.id,
                    url=endpoint.url,
                    event=job.state,
                    facts=facts,
                    created_at=at,
                    next_attempt_at=at,
                )
                self.posted[delivery.id] = Posted(delivery=delivery, endpoint=number)

    def posted_of(self, job_id: str) -> list[Posted]:
        """What was and is to be told of a job, oldest first."""
        there = [each for each in self.posted.values() if each.delivery.job_id == job_id]
        return [each for each in there if each.gone_at is None or each.gone_at > self.now()]

    def litter(self, kind: str, project: str, job_id: str) -> None:
        """Have sweepers look at the job, now and once more later."""
        self.passes.pop((kind, project, job_id), None)
        self.due[kind][project, job_id] = self.now()

    def tidy_after(self, project: str, job_id: str) -> None:
        """Something was written beside a job that is not here: what deleted it goes on. Nothing, unless it was deleted."""
        if job_id in self.gone:
            self.litter("deleted", project, job_id)

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
        if job.id in self.spent and not counts:
            reason = Reason.GPU_HOURS
        if job.pause_requested:
            return self.move(job.paused(reason=reason, retries=job.retries + counts, at=self.now()))
        return self.move(job.requeued(reason=reason, retries=job.retries + counts, at=self.now()))

    def quota(self, project: str) -> Quota:
        """What limits it."""
        return self.quotas.get(project, NO_QUOTA).otherwise(self.common).limits

    def queued(self, project: str) -> int:
        """How many jobs wait, or are set aside."""
        return sum(job.project == project and job.state in (JobState.QUEUED, JobState.PAUSED) for job in self.jobs.values())

    def stored_bytes(self, project: str) -> int:
        """Those on their way among them."""
        return sum(self.stored[project].values())

    def gpu_ms(self, project: str) -> int:
        """Of the last days."""
        last = to_ms(self.now()) // DAY_MS - GPU_DAYS
        return sum(ms for day, ms in self.gpu_time[project].items() if day > last)

    def is_spent(self, project: str) -> bool:
        """Whether it has used its GPU hours up."""
        hours = self.quota(project).gpu_hours
        return hours is not None and self.gpu_ms(project) >= hours * HOUR_MS

    def meter(self, job: Job) -> None:
        """Count the GPU time of an attempt since that was last done."""
        if job.device == "gpu":
            ms = to_ms(self.now()) - to_ms(self.metered.get(job.id, self.now()))
            self.gpu_time[job.project][to_ms(self.now()) // DAY_MS] += max(0, ms) * job.gpus
            self.metered[job.id] = self.now()

    def charge(self, project: str, owner: str, size: int) -> None:
        """So many bytes in storage are the owner's, from now on."""
        self.stored[project][owner] = size
        self.reserved.pop((project, owner), None)

    def lapse(self, project: str) -> None:
        """Bytes that never came are nobody's."""
        for place in [each for each, until in self.reserved.items() if each[0] == project and until <= self.now()]:
            self.charge(*place, 0)

    def check_quota(self, job: Job) -> None:
        """Raises QuotaExceeded where the project may have no such job more."""
        limit, project = self.quota(job.project), job.project
        if limit.queued is not None and self.queued(project) >= limit.queued:
            raise QuotaExceeded("queued", used=self.queued(project), limit=limit.queued)
        if limit.stored_bytes is not None:
            self.lapse(project)
            if self.stored_bytes(project) >= limit.stored_bytes:
                raise QuotaExceeded("stored_bytes", used=self.stored_bytes(project), limit=limit.stored_bytes)
        if limit.gpu_hours is not None and job.device == "gpu" and self.is_spent(project):
            raise QuotaExceeded("gpu_hours", used=self.gpu_ms(project) / HOUR_MS, limit=limit.gpu_hours)

    def waiting(self, device: Device) -> list[Job]:
        """The pending order of a class, all projects together."""
        queued = [job for job in self.jobs.values() if job.state is JobState.QUEUED and job.device == device]
        return sorted(queued, key=lambda job: (-job.priority, self.submitted[job.id], job.id))


def told(job: Job) -> dict[str, Any]:
    """The data of a state event."""
    data = {"state": job.state.value, "attempt": job.attempt, "phase": job.phase, "reason": job.reason}
    return {name: value for name, value in data.items() if value is not None}

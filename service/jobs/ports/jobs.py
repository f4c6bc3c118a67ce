"""Jobs as users see them, and what users ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from service.jobs.job import Device, Job
from service.jobs.state import JobState
from service.jobs.steps import Step

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Idempotency:
    """A submitter's key and the SHA-256 (hex) of the parsed body that came with it."""

    key: str
    body_sha256: str


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The job as it is now, and whether the key had been seen before. Of a new one: its place in the pending order, from 1."""

    job: Job
    replayed: bool
    position: int | None = None
    rings: bool = True
    """Whether a slot may have to be woken: not while every worker of the class is busy, for those look again by themselves."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a submission goes by besides its spec."""

    stamp: str
    """Another as soon as any of it is another."""
    devices: frozenset[Device]
    """Classes with a live worker."""
    job_gpus: int
    """The most GPUs that one of them has for a job."""
    finished: Sequence[Job]
    """The newest succeeded jobs of the project."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Jobs in the order asked for, and the cursor of the next page (None at the end)."""

    jobs: Sequence[Job]
    next_cursor: str | None
    only_newest: int | None = None
    """Where there are more matches than are sorted: how many were, the newest."""


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """What stands between a waiting job and its start: the running jobs of its class, and those that wait before it, first to last."""

    running: Sequence[Job]
    waiting: Sequence[Job]
    most: int | None
    """Jobs of the project that may run at a time; None: any number."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One class of a project: how many jobs wait, the first of them in their order, and those that run."""

    waiting: int
    jobs: Sequence[Job]
    running: Sequence[Job]
    alone: bool
    """Whether no other project has jobs that wait or run there: else they take turns, and nobody knows when a job starts."""
    most: int | None
    """Jobs of the project that may run at a time; None: any number."""


class JobStore(Protocol):
    """Jobs as users see them. Every method raises StoreUnavailable where the store does not answer."""

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

    def outlook(self, project: str, *, limit: int) -> Outlook:
        """How things are now, with so many finished jobs."""

    def find(self, project: str, job_id: str) -> Job:
        """The job as it is now. Raises JobNotFound."""

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

    def counts(self, project: str) -> Mapping[JobState, int]:
        """How many jobs are in each state."""

    def position(self, job: Job) -> int | None:
        """Where the job stands in its pending order, from 1; None once it waits no more."""

    def ahead(self, job: Job, *, limit: int) -> Ahead | None:
        """What has to end before the job starts.

        None where it does not wait, more than `limit` are before it or one that has no estimate, or other projects take turns.
        """

    def queue(self, project: str, device: Device, *, limit: int) -> Queue:
        """What waits and runs in a class, `limit` of what waits."""


class Intake(Protocol):
    """Taking jobs in from an event loop, many at a time."""

    async def submit(self, job: Job, *, shape: str, idempotency: Idempotency | None, outlook: Outlook | None) -> Submitted:
        """As JobStore.submit. Raises IdempotencyConflict, Outdated, StoreUnavailable.

        Jobs of one `shape` have the same specs, but for name, labels and seed.
        """

    async def aclose(self) -> None:
        """Let the connection go."""


@dataclass(frozen=True)
class Stamp:
    """What a job is at: the text is another as soon as anything of the job is. Of one that waits, its place in the queue is no part of it."""

    text: str
    state: JobState


class Stamps(Protocol):
    """Whether what is known of jobs is still so, asked from an event loop for less than reading them. Every method raises StoreUnavailable."""

    async def of(self, project: str, job_id: str) -> Stamp:
        """One job's. Raises JobNotFound."""

    async def of_newest(self, project: str, *, limit: int) -> str:
        """Another text as soon as anything of the project's newest jobs is another, or where they stand in the queue."""

    async def aclose(self) -> None:
        """Let the connection go."""


class Requests(Protocol):
    """What users ask of a job, each in one step. Every method raises JobNotFound, StoreUnavailable, and IllegalTransition for a state too late."""

    def cancel(self, project: str, job_id: str) -> Job:
        """End a waiting or paused job, flag a running one; a cancelled one stays so."""

    def pause(self, project: str, job_id: str) -> Job:
        """Set a waiting job aside, flag a running one; a paused one stays so."""

    def resume(self, project: str, job_id: str) -> Job:
        """Put a paused job back where it stood; take the flag from a running one."""

    def delete(self, project: str, job_id: str) -> None:
        """Take an ended job's record away, and leave its objects to the sweepers. Raises StillNeeded."""

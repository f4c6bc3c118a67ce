"""The ports: what use cases and workers need from the outside, as small Protocols. Adapters live in `service/adapters`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

from service.jobs.job import CheckpointPointer, Device, Job, JobError
from service.jobs.state import JobState, Reason
from service.spec.verdict import Checked, SpecWarning

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


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One class of a project: how many jobs wait, the first of them in their order, and those that run."""

    waiting: int
    jobs: Sequence[Job]
    running: Sequence[Job]
    alone: bool
    """Whether no other project has jobs that wait or run there: else they take turns, and nobody knows when a job starts."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One attempt's hold on a job."""

    job: Job
    token: int
    worker: str


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What the user asked of a running job."""

    cancel: bool = False
    pause: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended. `give_back` asks for another attempt (`counts` against max_retries, or not)."""

    kind: Literal["succeeded", "failed", "give_back", "cancelled"]
    error: JobError | None = None
    reason: Reason | None = None
    counts: bool = True


STEP_COLUMNS = ("step", "epoch", "train_loss", "lr")
Step = Sequence[float | None]
"""A logged step: its number since the job's start, the epoch that it was in (from 1), train_loss (None: no number), and the lr that it was made with."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an attempt learnt since the last report. Rows at or below the last recorded (epoch, step) are dropped by the store."""

    phase: str | None = None
    progress: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Latest values, merged into the job's."""
    row: Mapping[str, Any] | None = None
    """One finished epoch: {epoch, step, at, train_seconds, samples_per_second, train_loss, ...}; `at` in seconds since 1970."""
    steps: Sequence[Step] = ()
    """Logged steps, oldest first. Those at or below the last recorded one are dropped by the store."""
    events: Sequence[Mapping[str, Any]] = ()
    """{type, message, data}; the store adds id and at."""
    logs: Sequence[str] = ()
    best: Mapping[str, Any] | None = None
    resolved_spec: Mapping[str, Any] | None = None
    """Set once by a worker that ran the check itself (no torch beside the API)."""
    warnings: Sequence[SpecWarning] = ()
    dataset_digest: str | None = None
    inexact: str | None = None
    """Why the weights are no longer those of the spec as submitted."""


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


class AttemptStore(Protocol):
    """Jobs as a worker sees them. A write by anyone but the holder of the newest token raises Fenced."""

    def claim(self, *, worker: str, device: Device) -> Claim | None:
        """Take the best pending job this worker can run, with a new fencing token and a lease; None where none waits.

        The best is of the project, under its limit, with the fewest running jobs.
        """

    def renew(self, claim: Claim) -> Flags:
        """Push the lease out and read the user's flags."""

    def checkpoint(self, claim: Claim, pointer: CheckpointPointer, *, keep: int) -> Sequence[CheckpointPointer]:
        """Make an uploaded checkpoint the one to start from, and answer those that are not among the `keep` newest any more.

        An older one than the current is ignored.
        """

    def finish(self, claim: Claim, outcome: Outcome) -> JobState:
        """End the attempt and say where the job went: a cancel flag wins, `give_back` obeys max_retries."""


class FactLog(Protocol):
    """The live tail of what attempts reported. After the end it is read from storage."""

    def report(self, claim: Claim, report: Report) -> None:
        """Record what an attempt learnt. Raises Fenced."""

    def events(self, project: str, job_id: str, *, after: int, limit: int) -> Sequence[Mapping[str, Any]] | None:
        """Events with id > after, oldest first: {id, type, at, message, data}; None once the live tail is gone."""

    def metrics(self, project: str, job_id: str) -> Sequence[Mapping[str, Any]] | None:
        """One row per finished epoch, oldest first; None once the live tail is gone."""

    def steps(self, project: str, job_id: str, *, after: int = -1) -> Sequence[Step] | None:
        """Logged steps with a greater number, oldest first; None once the live tail is gone."""

    def logs(self, project: str, job_id: str) -> Sequence[str] | None:
        """Log lines, oldest first; None once the live tail is gone."""


class Housekeeping(Protocol):
    """What sweepers do. Harmless when many run at once."""

    def expire(self) -> Sequence[str]:
        """Give back (or end) every job whose lease has died; returns their ids. Does nothing right after a gap in sweeping."""

    def demand(self) -> Mapping[Device, Demand]:
        """How many jobs wait and how many slots are idle, per class."""

    def unsaved(self, limit: int) -> Sequence[Job]:
        """Jobs whose record in S3 is older than the one here."""

    def saved(self, job: Job) -> None:
        """The record was written; the live tail of a terminal job expires within the hour."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Jobs of a class that wait, and slots that would take them."""

    waiting: int
    idle: int

    @classmethod
    def of(cls, device: Device, *, waiting: int, workers: Iterable[WorkerBeat]) -> Self:
        """The demand on these workers."""
        return cls(waiting=waiting, idle=sum(max(0, worker.slots - worker.busy) for worker in workers if worker.device == device))


class Disposal(Protocol):
    """Whose objects are no longer needed. Each job comes up twice, the second time for what a slow writer added."""

    def deleted(self, limit: int) -> Sequence[tuple[str, str]]:
        """(project, id) of deleted jobs whose objects are to be removed now."""

    def erased(self, project: str, job_id: str) -> None:
        """They were."""

    def littered(self, limit: int) -> Sequence[tuple[str, str]]:
        """(project, id) of ended jobs among whose objects leftovers are to be looked for now."""

    def collected(self, project: str, job_id: str) -> None:
        """They were looked for, and removed."""

    def litter(self, project: str, job_id: str) -> None:
        """A fenced attempt may have left something: look again once the job has ended, or at once if it has."""


class Rebuilding(Protocol):
    """Putting records back after Redis was lost."""

    def restore(self, job: Job, *, rows: Sequence[Mapping[str, Any]], steps: Sequence[Step] = ()) -> bool:
        """Store the record unless one is here; one that ran waits again. False where there was nothing to do."""


@dataclass(frozen=True, kw_only=True)
class WorkerBeat:
    """One worker process, as it last reported itself."""

    name: str
    device: Device
    slots: int
    busy: int
    threads: int
    versions: Mapping[str, str] = field(default_factory=dict)
    jobs: Sequence[str] = ()
    device_name: str | None = None
    """The processor's model, or the GPU's name."""
    memory_bytes: int | None = None
    """The machine's, or the GPU's; less where a container may use less."""


@dataclass(frozen=True, kw_only=True)
class Worked:
    """One attempt of a worker. `state` is the job's as it is now; `ended_at` is None while the attempt holds the job."""

    id: str
    name: str | None
    state: JobState
    started_at: datetime
    ended_at: datetime | None


class WorkerRegistry(Protocol):
    """Who works right now."""

    def beat(self, beat: WorkerBeat) -> None:
        """Say that this worker lives; forgotten after half a minute of silence."""

    def leave(self, name: str) -> None:
        """Say goodbye."""

    def workers(self) -> Sequence[WorkerBeat]:
        """All live workers, by name."""

    def history(self, project: str, names: Sequence[str]) -> Mapping[str, Sequence[Worked]]:
        """The last attempts of these workers, at most 20 of each, the newest first: of the project's jobs that are still there."""


class Watch(Protocol):
    """One job under watch. Entered before the first read, it misses nothing."""

    def __enter__(self) -> Self:
        """Start watching."""

    def __exit__(self, *_: object) -> None:
        """Stop watching."""

    async def wait(self, seconds: float) -> bool:
        """True once the job changed since the last wait (it may be a false alarm), False when the time is up."""


class Changes(Protocol):
    """Waiting for jobs to change, without polling the store."""

    def watch(self, job_id: str) -> Watch:
        """A watch on one job, made in the event loop that waits."""

    async def aclose(self) -> None:
        """Let every connection go."""


class Doorbell(Protocol):
    """Wakes idle workers. Lost and doubled rings are harmless."""

    def ring(self, device: Device, *, times: int) -> None:
        """Wake up to `times` idle slots. Raises StoreUnavailable."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An object in storage: its size in bytes and its strong ETag."""

    key: str
    size: int
    etag: str


class ArtifactStore(Protocol):
    """Files by key. Every method raises StorageUnavailable where storage does not answer; a write is whole or not there."""

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:
        """Upload one file."""

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/json") -> None:
        """Upload a small object."""

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes start..end (inclusive; to the last where None), in chunks. Raises ArtifactNotFound before the first."""

    def list(self, prefix: str) -> Sequence[Stored]:
        """Every object under the prefix, by key."""

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those already gone are fine."""

    def abort_uploads(self, prefix: str) -> int:
        """Abandon every upload in parts under the prefix that was never completed; returns how many."""


class Preflight(Protocol):
    """What needs real torch beside the API, in a child process."""

    def check(self, parts: Mapping[str, Any]) -> Checked:
        """Every fault that building `service.spec.checking.needed(spec)` shows. Raises PreflightBusy, and Unavailable without torch."""

    def script(self, resolved: Mapping[str, Any]) -> str:
        """A resolved spec as train.py. Raises PreflightBusy, and Unavailable without torch."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Samples for a trained model: `inputs` as JSON has them, an `image` file in base64, or `csv` text."""

    kind: Literal["inputs", "image", "csv"]
    data: Any
    resize: bool = False
    """Whether an image of another size than the model was trained on is made to fit."""


Fetch = Callable[[], Iterator[tuple[str, Iterator[bytes]]]]
"""A model's files, by name, each in chunks."""


class Predictor(Protocol):
    """Trained models that answer, in processes apart."""

    def predict(self, model: str, files: Fetch, question: Question, *, is_custom: bool) -> dict[str, Any]:
        """{outputs, names, classes, probabilities}. `model` names it; `files` are fetched where it is not here. Raises Unpredictable, Unavailable."""

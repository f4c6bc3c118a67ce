"""Jobs as workers see them: one attempt's hold on a job, and what it learns and leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from service.jobs.job import CheckpointPointer, Device, Job, JobError
from service.jobs.state import JobState, Reason
from service.jobs.steps import Step, Steps
from service.spec.verdict import SpecWarning


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


class AttemptStore(Protocol):
    """Jobs as a worker sees them. A write by anyone but the holder of the newest token raises Fenced."""

    def claim(self, *, worker: str, device: Device, free_gpus: int = 1, most_gpus: int = 1) -> Claim | None:
        """Take the best pending job this worker can run, with a new fencing token and a lease; None where none waits.

        The best is of the project, under its limit, with the fewest running jobs. A job for more than `most_gpus` is passed over. One for no
        more than these, but more than are free now, is waited for: nothing is taken, or jobs that need less would keep it waiting for ever.
        """

    def renew(self, claim: Claim) -> Flags:
        """Push the lease out and read the user's flags."""

    def checkpoint(self, claim: Claim, pointer: CheckpointPointer, *, keep: int) -> Sequence[CheckpointPointer]:
        """Make an uploaded checkpoint the one to start from, and answer those that are not among the `keep` newest any more.

        An older one than the current is ignored.
        """

    def finish(self, claim: Claim, outcome: Outcome) -> JobState:
        """End the attempt and say where the job went: a cancel flag wins, `give_back` obeys max_retries."""


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


TailPart = Literal["rows", "steps"]
"""Rows of finished epochs, or logged steps."""


class FactLog(Protocol):
    """The live tail of what attempts reported. After the end it is read from storage."""

    def report(self, claim: Claim, report: Report) -> None:
        """Record what an attempt learnt. Raises Fenced."""

    def events(self, project: str, job_id: str, *, after: int, limit: int) -> Sequence[Mapping[str, Any]] | None:
        """Events with id > after, oldest first: {id, type, at, message, data}; None once the live tail is gone."""

    def metrics(self, project: str, job_id: str, *, after: int = -1) -> Sequence[Mapping[str, Any]] | None:
        """One row per finished epoch, those with a greater step, oldest first; None once the live tail is gone."""

    def steps(self, project: str, job_id: str, *, after: int = -1) -> Steps | None:
        """Logged steps with a greater number, oldest first; None once the live tail is gone."""

    def lines(self, project: str, job_id: str, part: TailPart, *, after: int = -1) -> bytes | None:
        """What `metrics` or `steps` answers as its JSON, a row on each line: nobody reads what is only passed on."""

    def logs(self, project: str, job_id: str, *, last: int | None = None) -> Sequence[str] | None:
        """Log lines, oldest first, of them the `last` so many; None once the live tail is gone."""

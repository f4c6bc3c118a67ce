"""The job record. Frozen: a change is a new value, made by the method named for its outcome. No storage lives here."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from service.jobs.errors import IllegalTransition
from service.jobs.layout import home_of
from service.jobs.state import TERMINAL, TRANSITIONS, JobState, Phase, Reason
from service.spec.job import SPEC_VERSION
from service.spec.verdict import Estimate, Kept, SpecWarning

Device = Literal["cpu", "gpu"]
NEWER_SPEC = "newer_spec"
"""The code of the warning that a worker was too old for a job."""


class Transition(Kept):
    """One move of the job, with its time (UTC)."""

    state: JobState
    phase: Phase | None = None
    at: datetime
    reason: Reason | None = None


class Progress(Kept):
    """How far training is. `epoch` counts completed epochs; `percent` is 0-100."""

    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    percent: float = 0.0
    eta_seconds: float | None = None


class JobError(Kept):
    """Why a job failed: a code for programs, a sentence for people, and what would help."""

    code: Reason
    message: str
    hint: str | None = None


class CheckpointPointer(Kept):
    """A committed checkpoint: a next attempt starts from the newest. Moves forward in (token, step) only."""

    token: int
    epoch: int
    step: int
    prefix: str
    """S3 key prefix of the checkpoint's folder; its manifest.json, written last, names the files."""
    size: int = 0
    """Bytes of its files; 0 where nobody counted them."""


class Exactness(Kept):
    """Whether the weights are, bit for bit, those of the spec as submitted, trained in one go; and if not, every reason."""

    exact: bool = True
    reasons: tuple[str, ...] = ()
    """`out_of_memory`, `hardware_changed`."""


class Endpoint(Kept):
    """Who is told where the job goes, as its spec's `notify` said."""

    url: str
    events: tuple[str, ...]


class Best(Kept):
    """The best epoch so far by `checkpoint.monitor`."""

    monitor: str
    value: float
    epoch: int
    step: int


class Job(Kept):
    """One training job, whole. `token` is the fencing token of its newest attempt (0 before the first)."""

    id: str
    project: str = "default"
    name: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    state: JobState = JobState.QUEUED
    reason: Reason | None = None
    phase: Phase | None = None
    attempt: int = 0
    retries: int = 0
    max_retries: int = 2
    retry_of: str | None = None
    priority: int = 0
    device: Device = "cpu"
    warnings: tuple[SpecWarning, ...] = ()
    dataset_digest: str | None = None
    exactness: Exactness = Exactness()
    progress: Progress = Progress()
    metrics: dict[str, float] = Field(default_factory=dict)
    best: Best | None = None
    estimate: Estimate | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    transitions: tuple[Transition, ...] = ()
    error: JobError | None = None
    notify: tuple[Endpoint, ...] = ()
    """Who is told where it goes. Their URLs stand here alone: in `spec` they are hidden, for whoever sees a job sees that."""
    spec: dict[str, Any]
    resolved_spec: dict[str, Any] | None = None
    token: int = 0
    owner: str | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    checkpoints: tuple[CheckpointPointer, ...] = ()
    """The committed ones that are kept, newest first: where one cannot be used, the next is."""
    version: int = 1
    """Grows with every write; the ETag."""

    @property
    def gpus(self) -> int:
        """How many GPUs it takes, where it runs on GPUs."""
        return int((self.resolved_spec or self.spec).get("resources", {}).get("gpus", 1))

    @property
    def is_terminal(self) -> bool:
        """True once nothing can move the job any more."""
        return self.state in TERMINAL

    @property
    def checkpoint(self) -> CheckpointPointer | None:
        """The newest committed checkpoint."""
        return self.checkpoints[0] if self.checkpoints else None

    @property
    def borrowed_from(self) -> str | None:
        """The job in whose folder the newest checkpoint lies, where that is not this one: a retry before its own first checkpoint."""
        home = home_of(self.checkpoint.prefix) if self.checkpoint else self.id
        return None if home == self.id else home

    @property
    def understood_from(self) -> int:
        """The oldest `spec_version` of a worker that may take it: whoever fills in a spec writes every key that it knows."""
        return max(SPEC_VERSION, int((self.resolved_spec or self.spec).get("spec_version", 1)))

    @property
    def upload(self) -> tuple[str, str] | None:
        """(name, version) of the uploaded data set that it needs."""
        dataset = (self.resolved_spec or {}).get("dataset", {})
        return (dataset["name"], dataset["version"]) if dataset.get("type") == "Upload" else None

    def claimed(self, *, owner: str, token: int, at: datetime) -> Self:
        """`queued -> running`: a worker took it; `token` is the new attempt's fencing token."""
        return self._moved(
            JobState.RUNNING,
            at=at,
            phase=Phase.PREPARING,
            owner=owner,
            token=token,
            attempt=self.attempt + 1,
            started_at=self.started_at or at,
        )

    def succeeded(self, *, at: datetime) -> Self:
        """`running -> succeeded`: the artifacts' manifest is in storage."""
        return self._moved(JobState.SUCCEEDED, at=at, finished_at=at)

    def failed(self, *, error: JobError, at: datetime) -> Self:
        """`running -> failed`: `error` says why and what would help."""
        return self._moved(JobState.FAILED, at=at, reason=error.code, error=error, finished_at=at)

    def cancelled(self, *, at: datetime) -> Self:
        """Any live state `-> cancelled`: the user said stop."""
        return self._moved(JobState.CANCELLED, at=at, finished_at=at)

    def paused(self, *, at: datetime, reason: Reason | None = None, retries: int | None = None) -> Self:
        """`queued | running -> paused`: the user set it aside; it holds no worker."""
        return self._moved(
            JobState.PAUSED, at=at, reason=reason, retries=self.retries if retries is None else retries, pause_requested=False
        )

    def resumed(self, *, at: datetime) -> Self:
        """`paused -> queued`: it stands again where it stood."""
        return self._moved(JobState.QUEUED, at=at)

    def requeued(self, *, reason: Reason, retries: int, at: datetime) -> Self:
        """`running -> queued`: the infrastructure, not the user, ended the attempt; `retries` is the new count."""
        return self._moved(JobState.QUEUED, at=at, reason=reason, retries=retries)

    def _moved(self, state: JobState, *, at: datetime, reason: Reason | None = None, phase: Phase | None = None, **facts: Any) -> Self:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(self.id, state=self.state, wanted=state)
        owner = facts.pop("owner", None)
        step = Transition(state=state, phase=phase, at=at, reason=reason)
        changes = {
            "state": state,
            "reason": reason,
            "phase": phase,
            "owner": owner,
            "version": self.version + 1,
            "transitions": (*self.transitions, step),
        }
        return self.model_copy(update=changes | facts)

"""What leaves over HTTP: the shapes of the answers. A Job never leaves undressed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from service.jobs.estimating import judged
from service.jobs.job import Best, Device, Exactness, Job, JobError, Progress, Transition
from service.jobs.state import JobState, Phase, Reason
from service.spec.export import Exported
from service.spec.verdict import Estimate, SpecWarning


class JobView(BaseModel):
    """A job as users see it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    name: str | None
    labels: dict[str, str]
    state: JobState
    reason: Reason | None
    """Why it is in this state, where that is not plain."""
    phase: Phase | None
    """What a running job is busy with."""
    attempt: int
    """Counts every start."""
    retries: int
    """Attempts since the last checkpoint that a lost worker, trainer or store ended."""
    retry_of: str | None
    """The job that this one was made from by retry."""
    priority: int
    device: Device
    warnings: tuple[SpecWarning, ...]
    """What looks wrong with the spec, or with how it goes, and keeps nothing from running."""
    dataset_digest: str | None
    """The SHA-256 of the samples that it trains on."""
    exactness: Exactness
    queue_position: int | None
    """Of a waiting job, from 1."""
    estimated_start_at: datetime | None = None
    """Of a waiting job, where all that runs and waits before it has an estimate; told of single jobs, not in lists."""
    progress: Progress
    metrics: dict[str, float]
    """The latest values by name."""
    best: Best | None
    """The epoch whose weights become the model, where `checkpoint.monitor` is given."""
    estimate: Estimate | None
    """The time of an epoch, once a job like it has finished."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    transitions: tuple[Transition, ...]
    """Every state that it was in, and when."""
    error: JobError | None
    """Of a failed job: what happened, and what helps."""
    spec: dict[str, Any]
    """As it was sent."""
    resolved_spec: dict[str, Any] | None
    """With every default and size filled in."""
    links: dict[str, str]


class JobPage(BaseModel):
    """One page of jobs. `only_newest`: of more matches only so many, the newest, were sorted."""

    data: list[JobView]
    next_cursor: str | None
    only_newest: int | None = None


class EventView(BaseModel):
    """One thing that happened to a job. `id` is the cursor, and the SSE id."""

    id: int
    type: str
    at: datetime
    message: str
    data: dict[str, Any]


class EventPage(BaseModel):
    """Events, oldest first."""

    data: list[EventView]


class MetricRows(BaseModel):
    """A row per finished epoch, whose throughput excludes evaluation; or per logged step, whose train_loss is null where it was no number."""

    data: list[dict[str, float | int | None]]


class ArtifactView(BaseModel):
    """One file of a job's manifest."""

    path: str
    size: int
    sha256: str
    content_type: str
    url: str
    download_url: str | None = None
    """Straight from storage, for some minutes, for whoever has it; where the operator lets users reach storage."""
    export: Exported | None = None
    """How far it is from the trained model, where it is another form of that."""


class CheckpointFile(BaseModel):
    """One file of a checkpoint."""

    path: str
    size: int
    sha256: str
    url: str
    download_url: str | None = None
    """As an artifact's."""


class CheckpointView(BaseModel):
    """A checkpoint that is kept. `best`: taken at the best epoch so far; `attempt_token` is the fencing token of the attempt that wrote it."""

    step: int
    epoch: int
    attempt_token: int
    created_at: datetime | None
    size: int
    best: bool
    files: list[CheckpointFile]


class CheckpointPage(BaseModel):
    """The newest first."""

    data: list[CheckpointView]


class ArtifactPage(BaseModel):
    """The manifest of an ended job."""

    data: list[ArtifactView]


_ASKED: dict[JobState, tuple[str, ...]] = {
    JobState.QUEUED: ("cancel", "pause"),
    JobState.RUNNING: ("cancel", "pause", "resume"),
    JobState.PAUSED: ("cancel", "resume"),
    JobState.SUCCEEDED: (),
    JobState.FAILED: ("retry",),
    JobState.CANCELLED: ("retry",),
}
"""What may be asked of a job in each state."""


_OF_THE_JOB = tuple(name for name in JobView.model_fields if name not in ("queue_position", "estimated_start_at", "links", "estimate"))


def job_view(job: Job, *, position: int | None, start: datetime | None) -> JobView:
    """The job, dressed."""
    here = f"/v1/jobs/{job.id}"
    links = (
        {name: f"{here}/{name}" for name in ("events", "metrics", "logs", "checkpoints", "artifacts")}
        | ({"deliveries": f"{here}/deliveries"} if job.notify else {})
        | {"self": here}
        | {name: f"{here}/{name}" for name in _ASKED[job.state]}
    )
    told: dict[str, Any] = {name: getattr(job, name) for name in _OF_THE_JOB}
    # a record that was read is right already: to check it again would take a tenth of a POST
    return JobView.model_construct(queue_position=position, estimated_start_at=start, links=links, estimate=judged(job), **told)

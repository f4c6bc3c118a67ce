"""A job as one holds it in Python: what the service last told of it, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from service.client.evaluating import evaluation_of
from service.client.rows import Rows
from service.client.streaming import TERMINAL, Event

if TYPE_CHECKING:
    from service.client.sdk import Client


@dataclass(frozen=True)
class _Fact:
    """A part of a job's facts; what a newer service says besides stays in the mapping."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """What was told, as far as it is known here."""
        return cls(**{field.name: told[field.name] for field in fields(cls) if field.name in told})


@dataclass(frozen=True)
class Progress(_Fact):
    """How far training is. `epoch` counts completed epochs; `percent` is 0 to 100."""

    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    percent: float = 0.0
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Best(_Fact):
    """The best epoch by what `checkpoint.monitor` watches."""

    monitor: str
    value: float
    epoch: int
    step: int


@dataclass(frozen=True)
class JobError(_Fact):
    """Why a job failed: a code for programs, a sentence for people, and what would help."""

    code: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Warned(_Fact):
    """Something that trains, but probably not as meant: where in the spec, what, and what would be right."""

    code: str
    detail: str
    pointer: str = ""
    suggestion: str | None = None


class Job(dict[str, Any]):
    """One job. Reads as the mapping that the service answered (`job["id"]`), and by typed properties (`job.id`).

    It says what was last heard: `refresh`, `wait` and what is asked of it hear anew. In a notebook it shows state, progress and curve.

    >>> job = client.submit("job.yaml").wait()
    >>> job.state, job.latest["test_accuracy"]
    ('succeeded', 0.9722)
    >>> load_file(job.model_file())
    """

    def __init__(self, client: Client, facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self._client = client

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.get("name") else ""
        return f"<Job {self.get('id')}{name}: {self.get('state')}, {self.progress.percent:.0f} %>"

    @property
    def id(self) -> str:
        """Its id, `job_...`."""
        return str(self["id"])

    @property
    def name(self) -> str | None:
        """The name that its spec gives it."""
        return self["name"]  # type: ignore[no-any-return]  # JSON

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self["labels"])

    @property
    def state(self) -> str:
        """Where it stands: queued, running, paused; succeeded, failed, cancelled."""
        return str(self["state"])

    @property
    def phase(self) -> str | None:
        """What a running job is busy with: preparing, training, evaluating, exporting, uploading."""
        return self["phase"]  # type: ignore[no-any-return]  # JSON

    @property
    def reason(self) -> str | None:
        """Why it is in its state, where that is not plain: waiting_for_worker, out_of_memory, ..."""
        return self["reason"]  # type: ignore[no-any-return]  # JSON

    @property
    def has_ended(self) -> bool:
        """Whether it has succeeded, failed or been cancelled; nothing changes from then on."""
        return self.state in TERMINAL

    @property
    def progress(self) -> Progress:
        """Epochs, steps, percent, and the seconds that are left."""
        return Progress.of(self.get("progress") or {})

    @property
    def latest(self) -> dict[str, float]:
        """The latest value of every metric; `metrics()` has all epochs'."""
        return dict(self["metrics"])

    @property
    def best(self) -> Best | None:
        """The best epoch so far, where `checkpoint.monitor` is given."""
        return Best.of(self["best"]) if self["best"] else None

    @property
    def error(self) -> JobError | None:
        """Why it failed."""
        return JobError.of(self["error"]) if self["error"] else None

    @property
    def warnings(self) -> list[Warned]:
        """What was noticed when it was checked."""
        return [Warned.of(told) for told in self["warnings"]]

    @property
    def spec(self) -> dict[str, Any]:
        """The spec as it was sent."""
        return dict(self["spec"])

    @property
    def resolved_spec(self) -> dict[str, Any] | None:
        """The spec with every default and size filled in."""
        return self["resolved_spec"]  # type: ignore[no-any-return]  # JSON

    @property
    def queue_position(self) -> int | None:
        """Its place among those that wait, from 1."""
        return self["queue_position"]  # type: ignore[no-any-return]  # JSON

    @property
    def created_at(self) -> datetime:
        """When it was submitted (UTC)."""
        return datetime.fromisoformat(self["created_at"])

    @property
    def started_at(self) -> datetime | None:
        """When a worker first took it (UTC)."""
        return _when(self["started_at"])

    @property
    def finished_at(self) -> datetime | None:
        """When it ended (UTC)."""
        return _when(self["finished_at"])

    def refresh(self) -> Self:
        """Hear anew how it stands."""
        return self._heard(self._client.get(self.id))

    def wait(self, *, timeout: float | None = None, raise_on_failure: bool = False) -> Self:
        """Wait for its end. Raises TimeoutError after `timeout` seconds in all, and JobFailed, where asked to, if it did not succeed."""
        return self._heard(self._client.wait(self.id, timeout=timeout, raise_on_failure=raise_on_failure))

    def cancel(self) -> Self:
        """Stop it. Raises Conflict where it has ended otherwise."""
        return self._heard(self._client.cancel(self.id))

    def pause(self) -> Self:
        """Set it aside; one that runs loses no step. Raises Conflict where it has ended."""
        return self._heard(self._client.pause(self.id))

    def resume(self) -> Self:
        """Let it go on after a pause. Raises Conflict where it has ended."""
        return self._heard(self._client.resume(self.id))

    def retry(self) -> Job:
        """A new job that goes on from this failed or cancelled one's last checkpoint. Raises Conflict for another state."""
        return self._client.retry(self.id)

    def delete(self) -> None:
        """Remove it with everything that it left. Raises Conflict where it lives, or another job needs its checkpoint."""
        self._client.delete(self.id)

    def _heard(self, job: Job) -> Self:
        self.clear()
        self.update(job)
        return self

    def events(self, *, after: int = 0) -> Iterator[Event]:
        """Events as they happen, to the last one: {id, type, at, message, data}. A broken stream is taken up where it broke.

        >>> for event in job.events():
        ...     print(event["at"], event["type"], event["message"])
        """
        return self._client.events(self.id, after=after)

    def metrics(self) -> Rows:
        """A row for each finished epoch; `job.metrics().to_pandas()` makes a DataFrame."""
        return self._client.metrics(self.id)

    def steps(self, *, after: int = -1, points: int | None = None) -> Rows:
        """Logged steps after one of them: {step, epoch, train_loss, lr}; at most `points`, thinned for drawing."""
        return self._client.steps(self.id, after=after, points=points)

    def checkpoints(self) -> Rows:
        """Those that are kept, the newest first: {step, epoch, created_at, size, best, files, ...}."""
        return self._client.checkpoints(self.id)

    def deliveries(self) -> Rows:
        """Its webhooks: {id, type, url, state, reason, created_at, next_attempt_at, attempts}."""
        return self._client.deliveries(self.id)

    def logs(self, *, tail: int | None = None) -> str:
        """Its log's text; the last lines with `tail`."""
        return self._client.logs(self.id, tail=tail)

    def artifacts(self) -> Rows:
        """The files that it left: {path, size, sha256, content_type, url}. Raises Conflict before the end."""
        return self._client.artifacts(self.id)

    def download(self, folder: Path | str | None = None, *, only: str | Sequence[str] | None = None) -> list[Path]:
        """Its files, verified, into a folder, by default one of its id; `only` some, by name or pattern (`plots/*`).

        What lies there already is kept, what breaks off is gone on with. Raises Conflict before the end, NotFound, Corrupt, Unreachable, OSError.
        """
        return self._client.download(self.id, self.id if folder is None else folder, only=only)

    def model_file(self, folder: Path | str | None = None) -> Path:
        """`model.safetensors` on this machine: downloaded, unless it lies in the folder already. Raises as `download` does."""
        return self.download(folder, only="model.safetensors")[0]

    def predict(self, samples: Sequence[Any] | Path, *, resize: bool = False) -> dict[str, Any]:
        """What the trained model answers: {outputs, names, classes, probabilities}.

        `samples` is a list as JSON has it, or a PNG, JPEG, CSV or JSON file. Raises BadRequest, Conflict, NotFound, OSError.
        """
        return self._client.predict(self.id, samples, resize=resize)

    def evaluate(self, dataset: str, *, version: str | None = None, share: float = 1.0) -> Job:
        """Queue a job that trains nothing: this one's model on an uploaded data set, each prediction a row of a table.

        Of data without a test split, `share` says how much of it is looked at. Raises Rejected where they do not fit.
        """
        job = self if self.get("resolved_spec") else self.refresh()
        return self._client.submit(evaluation_of(job, dataset, version=version, share=share))

    def _repr_html_(self) -> str:
        from service.client.notebook import card

        return card(self)


def _when(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)

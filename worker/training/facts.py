"""What a trainer tells, as frozen facts, and their one-line JSON form on the pipe. No torch here: the supervisor reads these too.

With custom code inside, a trainer may write to the pipe what it likes: only what has a fact's types and bounds gets to the supervisor.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic's own need; it takes the standard library's from Python 3.12 on

Count = Annotated[int, Field(ge=0, le=2**53)]
"""What the store, which counts in doubles, holds exactly."""
Metrics = Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.@-]*$", max_length=100)], float], Field(max_length=200)]
"""By names that stand in a log, a table and an address as they are."""


class CheckpointFile(TypedDict):
    """A file right inside a checkpoint's folder; its name becomes part of a key in storage, and of a path on the worker that goes on from it."""

    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
    size: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]*$", max_length=64)]


@dataclass(frozen=True, kw_only=True)
class PhaseStarted:
    """The attempt is now busy with this phase."""

    phase: Literal["preparing", "training", "evaluating", "exporting"]
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingStarted:
    """Sizes are known: steps in all, where this attempt starts, and the spec with everything filled in."""

    epochs: Count
    steps: Count
    start_epoch: Count
    start_step: Count
    dataset_digest: str


@dataclass(frozen=True, kw_only=True)
class PlanChosen:
    """`precision: auto` is decided: the plan in words, as keys of the spec's `training`, and what was measured, in words."""

    plan: str
    training: dict[str, Any]
    measured: list[str]


@dataclass(frozen=True, kw_only=True)
class FirstStepDone:
    """This attempt's first optimizer step was done `at` this time (seconds since 1970)."""

    step: Count
    at: float


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """`step` optimizer steps are done since the job's start, in the epoch after `epoch` completed ones. Sent a few times a second at most."""

    epoch: Count
    step: Count


@dataclass(frozen=True, kw_only=True)
class StepsLogged:
    """Steps whose losses have been read, as columns: numbers since the job's start, epochs from 1, losses, learning rates."""

    steps: list[int]
    epochs: list[int]
    losses: list[float]
    lrs: list[float]

    def __post_init__(self) -> None:
        """Raises TypeError: custom code may write to the pipe what it likes, and these go on as they are."""
        columns = (self.steps, self.epochs, self.losses, self.lrs)
        kinds = {type(each) for column in columns for each in column}
        if not kinds <= {int, float} or len({len(column) for column in columns}) > 1:
            raise TypeError("four equally long lists of numbers")

    def rows(self) -> list[tuple[int, int, float, float]]:
        """(step, epoch, loss, lr) of each."""
        return list(zip(self.steps, self.epochs, self.losses, self.lrs, strict=True))


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """`epoch` epochs are complete, `at` this time (seconds since 1970).

    `metrics` holds train_loss, train_accuracy, val_loss, val_accuracy, lr; seconds exclude evaluation.
    """

    epoch: Count
    step: Count
    at: float
    train_seconds: float
    samples_per_second: float
    metrics: Metrics
    best: dict[str, Any] | None = None
    """{monitor, value, epoch, step} once the job monitors something."""

    def row(self) -> dict[str, Any]:
        """Its row among the job's metrics."""
        counted = ("epoch", "step", "at", "train_seconds", "samples_per_second")
        return {name: getattr(self, name) for name in counted} | self.metrics


@dataclass(frozen=True, kw_only=True)
class CheckpointWritten:
    """A whole checkpoint lies in `directory`; the supervisor uploads it, then removes the folder. `files` are {path, size, sha256}."""

    epoch: Count
    step: Count
    directory: str
    files: Annotated[list[CheckpointFile], Field(max_length=100)]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The test split was evaluated: test_loss, test_accuracy, ..."""

    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something the user should know of this training. `pointer` names the part of the spec."""

    code: str
    pointer: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class HardwareChanged:
    """The attempt goes on from a checkpoint that was written elsewhere: on another processor, or with another torch."""

    detail: str


@dataclass(frozen=True, kw_only=True)
class Evaluating:
    """So many batches of an evaluation are done. Sent a few times a second at most, so that a long one is not taken for a stall."""

    batches: Count


@dataclass(frozen=True, kw_only=True)
class Exporting:
    """This file is still being made. Sent every second or so, so that a long export, which has its own limit, is not taken for a stall."""

    file: str


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line for the job's log."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True, kw_only=True)
class Succeeded:
    """Training, evaluation and export are done; `directory` holds every artifact but job.json, logs.txt, metrics.jsonl, steps.jsonl and manifest.json."""

    directory: str


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The trainer was told to stop; its last checkpoint was written before."""

    epoch: Count
    step: Count


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The attempt cannot go on. `code` is a value of service.jobs.state.Reason."""

    code: str
    message: str
    hint: str | None = None
    faults: list[dict[str, Any]] = field(default_factory=list)
    skip_batches: list[list[Count]] = field(default_factory=list)
    """[epoch, batch] that another attempt may leave out, none of them in a checkpoint that was told."""
    follows: bool = False
    """Of several processes that train together another was lost first: what became of that one is the reason."""


Fact = (
    PhaseStarted
    | TrainingStarted
    | PlanChosen
    | FirstStepDone
    | StepDone
    | StepsLogged
    | EpochDone
    | CheckpointWritten
    | Evaluating
    | Evaluated
    | Exporting
    | Warned
    | HardwareChanged
    | LogLine
    | Succeeded
    | Stopped
    | Failed
)

_BY_NAME: dict[str, type[Any]] = {kind.__name__: kind for kind in Fact.__args__}


def to_line(fact: Fact) -> bytes:
    """The fact as one JSON line, newline included."""
    body = {"fact": type(fact).__name__, **asdict(fact)}
    # the text of a user's error may hold halves of surrogate pairs, which no store takes
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n"


def from_line(line: bytes) -> Fact:
    """The fact of one JSON line. Raises ValueError where the line is none."""
    try:
        # by pydantic throughout: the standard library's reader runs out of stack where brackets nest deeply
        name = _NAMED.validate_json(line)["fact"]
        fact: Fact = _read_as(name).validate_json(line, strict=True)
    except (KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"not a fact: {line[:200]!r}") from error
    return fact


class _Named(TypedDict):
    fact: str


_NAMED = TypeAdapter(_Named)


@functools.cache
def _read_as(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_BY_NAME[name])

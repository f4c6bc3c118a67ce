"""What a trainer tells, as frozen facts, and their one-line JSON form on the pipe. No torch here: the supervisor reads these too."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class PhaseStarted:
    """The attempt is now busy with this phase."""

    phase: Literal["preparing", "training", "evaluating", "exporting"]
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingStarted:
    """Sizes are known: steps in all, where this attempt starts, and the spec with everything filled in."""

    epochs: int
    steps: int
    start_epoch: int
    start_step: int
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

    step: int
    at: float


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """`step` optimizer steps are done since the job's start, in the epoch after `epoch` completed ones. Sent a few times a second at most."""

    epoch: int
    step: int


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

    epoch: int
    step: int
    at: float
    train_seconds: float
    samples_per_second: float
    metrics: dict[str, float]
    best: dict[str, Any] | None = None
    """{monitor, value, epoch, step} once the job monitors something."""

    def row(self) -> dict[str, Any]:
        """Its row among the job's metrics."""
        counted = ("epoch", "step", "at", "train_seconds", "samples_per_second")
        return {name: getattr(self, name) for name in counted} | self.metrics


@dataclass(frozen=True, kw_only=True)
class CheckpointWritten:
    """A whole checkpoint lies in `directory`; the supervisor uploads it, then removes the folder. `files` are {path, size, sha256}."""

    epoch: int
    step: int
    directory: str
    files: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The test split was evaluated: test_loss, test_accuracy, ..."""

    metrics: dict[str, float]


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

    batches: int


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

    epoch: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The attempt cannot go on. `code` is a value of service.jobs.state.Reason."""

    code: str
    message: str
    hint: str | None = None
    faults: list[dict[str, Any]] = field(default_factory=list)
    skip_batches: list[list[int]] = field(default_factory=list)
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
    return json.dumps({"fact": type(fact).__name__, **asdict(fact)}, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Fact:
    """The fact of one JSON line. Raises ValueError where the line is no fact."""
    try:
        body = json.loads(line)
        return _BY_NAME[body.pop("fact")](**body)  # type: ignore[no-any-return]  # the table holds facts only
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a fact: {line[:200]!r}") from error

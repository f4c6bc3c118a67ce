"""What the next attempt does otherwise, and when there is no such thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from service.jobs.job import Job, Transition
from service.jobs.state import JobState, Reason
from tests.checking import checked
from worker.remedies import ended_by
from worker.training.facts import Failed

NOW = datetime(2026, 11, 25, tzinfo=UTC)
OUT_OF_MEMORY = Failed(code="out_of_memory", message="Memory ran out.")
BODY = {
    "dataset": {"type": "Digits", "limit": 200},
    "dataloader": {"batch_size": 50},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "training": {"gradient_accumulation_steps": 3},
    "epochs": 2,
}

BATCH_NORM = {
    "model": {"type": "Sequential", "layers": ["Flatten", "BatchNorm1d", {"type": "Linear", "out_features": 10}]},
    "dataset": {"type": "Digits", "limit": 205},
}


def job_of(spec: dict[str, Any], **changes: Any) -> Job:
    """A running job of the spec."""
    return Job(id="job_1", created_at=NOW, spec=spec, state=JobState.RUNNING, **changes)


def ended(changes: dict[str, Any], **job: Any) -> Any:
    """How the attempt of a changed spec ends when memory runs out."""
    spec = checked(BODY | changes).resolved_spec
    assert spec is not None
    return ended_by(OUT_OF_MEMORY, job_of(BODY, **job), spec, partial(checked, threads=1))


def test_batches_are_halved_once():
    """Half the size, twice the accumulation, in the resolved spec; the weights are marked, and the user warned with both numbers."""
    outcome, report = ended({})

    assert (outcome.kind, outcome.reason, outcome.counts) == ("give_back", Reason.OUT_OF_MEMORY, True)
    assert report.resolved_spec["dataloader"]["batch_size"] == 25
    assert report.resolved_spec["dataloader"]["eval_batch_size"] == 256
    assert report.resolved_spec["training"]["gradient_accumulation_steps"] == 6
    assert report.inexact == "out_of_memory"
    assert "25 samples now, not 50, and 6 of them" in report.warnings[0].detail


def test_odd_sizes_are_rounded_down():
    """Five samples become two."""
    _, report = ended({"dataloader": {"batch_size": 5}})

    assert report.resolved_spec["dataloader"]["batch_size"] == 2


def test_a_second_time_is_the_end():
    """One retry, however many there may be for other reasons."""
    earlier = Transition(state=JobState.QUEUED, at=NOW, reason=Reason.OUT_OF_MEMORY)

    outcome, report = ended({}, transitions=(earlier,))

    assert (outcome.kind, outcome.error.code, report) == ("failed", Reason.OUT_OF_MEMORY, None)
    assert "again" in outcome.error.message
    assert "batch_size" in outcome.error.hint


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"dataloader": {"batch_size": 1}}, "one sample"),
        ({"loss": {"type": "CrossEntropyLoss", "reduction": "sum"}}, "reduction: sum"),
        (
            {"lr_scheduler": {"type": "OneCycleLR", "max_lr": 0.1}, "dataloader": {"batch_size": 5}, "training": {}},
            "/lr_scheduler/total_steps",
        ),
        (BATCH_NORM | {"dataloader": {"batch_size": 8}}, "1 sample"),
    ],
)
def test_what_halving_would_break_is_not_halved(changes: dict[str, Any], word: str):
    """One sample; a loss that is a sum; a schedule that would run out; BatchNorm with one sample left over. The job fails, and says so."""
    outcome, report = ended(changes)

    assert (outcome.kind, report) == ("failed", None)
    assert word in outcome.error.message
    assert ended(BATCH_NORM | {"dataloader": {"batch_size": 10}})[1] is not None


def test_no_retries_means_none():
    """With max_retries 0 the job fails as it stands."""
    outcome, report = ended({}, max_retries=0)

    assert (outcome.kind, report) == ("failed", None)


@pytest.mark.parametrize(("code", "kind"), [("trainer_lost", "give_back"), ("disk_full", "give_back"), ("bad_data", "failed")])
def test_other_ends_are_as_they_were(code: str, kind: str):
    """Infrastructure is tried again with the same spec, the user's fault is not."""
    outcome, report = ended_by(Failed(code=code, message="m"), job_of(BODY), {}, checked)

    assert (outcome.kind, outcome.reason, report) == (kind, Reason(code), None)


def test_batches_that_are_left_out_are_so_at_half_the_size():
    """Batch 3 of 50 samples is 6 and 7 of 25; batch 1 of 5 samples lies in 2, 3 and 4 of 2."""
    _, even = ended({"training": {"skip_batches": [[1, 3]]}})
    _, odd = ended({"dataloader": {"batch_size": 5}, "training": {"skip_batches": [[0, 1]]}})

    assert even.resolved_spec["training"]["skip_batches"] == [[1, 6], [1, 7]]
    assert odd.resolved_spec["training"]["skip_batches"] == [[0, 2], [0, 3], [0, 4]]


NAN = Failed(code="nan_loss", message="The training loss is nan.", hint="Smaller steps.", skip_batches=[[1, 0], [1, 1]])


def after_nan(fact: Failed, training: dict[str, Any], **job: Any) -> Any:
    """How an attempt ends whose loss was no number."""
    spec = checked(BODY | {"training": training}).resolved_spec
    assert spec is not None
    return ended_by(fact, job_of(BODY, **job), spec, partial(checked, threads=1))


def test_batches_that_led_to_no_number_join_those_left_out():
    """The attempt is given back, and counts."""
    outcome, report = after_nan(NAN, {"skip_batches": [[0, 2]]})

    assert (outcome.kind, outcome.reason, outcome.counts) == ("give_back", Reason.NAN_LOSS, True)
    assert report.resolved_spec["training"]["skip_batches"] == [[0, 2], [1, 0], [1, 1]]
    assert report.inexact is None


def test_what_custom_code_may_say_is_checked():
    """Its process can say anything: what names no batches leaves nothing out."""
    outcome, report = after_nan(replace(NAN, skip_batches=["x", [1, 0], {}]), {})

    assert (outcome.kind, report) == ("failed", None)
    assert "/training/skip_batches/0" in outcome.error.message


@pytest.mark.parametrize(
    ("skip", "job", "word"),
    [([], {}, "nan"), ([[1, 0], [1, 1]], {"max_retries": 0}, "max_retries"), ([[0, n] for n in range(4)], {}, "all of them")],
)
def test_where_nothing_can_be_left_out_the_job_fails(skip: list[list[int]], job: dict[str, Any], word: str):
    """The trainer names none; there are no retries; the epoch would be empty."""
    outcome, report = after_nan(replace(NAN, skip_batches=skip), {}, **job)

    assert (outcome.kind, outcome.error.code, report) == ("failed", Reason.NAN_LOSS, None)
    assert word in outcome.error.message

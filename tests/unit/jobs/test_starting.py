"""When a waiting job starts: known, or None; never a guess."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.jobs.estimating import seconds_to_start
from service.jobs.job import CheckpointPointer, Job, Progress
from service.jobs.state import JobState, Phase
from service.spec.verdict import Estimate

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def waiting(seconds_per_epoch: float | None, *, epochs: int = 1, **more) -> Job:
    """A job that waits."""
    return Job(id="w", created_at=NOW, spec={"epochs": epochs}, estimate=Estimate(seconds_per_epoch=seconds_per_epoch), **more)


def running(eta: float | None, phase: Phase = Phase.TRAINING) -> Job:
    """A job that runs."""
    return Job(id="r", created_at=NOW, spec={"epochs": 1}, state=JobState.RUNNING, phase=phase, progress=Progress(eta_seconds=eta))


@pytest.mark.parametrize(
    ("slots", "at_work", "before", "seconds"),
    [
        (1, [], [], 0),
        (1, [running(7)], [], 7),
        (2, [running(7)], [], 0),
        (1, [running(7)], [waiting(2, epochs=3), waiting(5)], 18),
        # two slots: 10 and 4 left; the first (3) goes to the second slot, the next (8) too, then one is free at 10
        (2, [running(10), running(4)], [waiting(3), waiting(8)], 10),
        (3, [], [waiting(1), waiting(2)], 0),
    ],
)
def test_each_in_turn_takes_the_slot_that_is_free_first(slots: int, at_work: list[Job], before: list[Job], seconds: float):
    """List scheduling, by hand."""
    assert seconds_to_start(slots=slots, running=at_work, before=before) == seconds


def test_a_job_that_goes_on_needs_only_what_is_left():
    """Epochs that its checkpoint holds are not trained again."""
    pointer = CheckpointPointer(token=1, epoch=3, step=30, prefix="projects/p/jobs/w/attempts/1/checkpoints/30/")

    assert seconds_to_start(slots=1, running=[], before=[waiting(10, epochs=5, checkpoints=(pointer,))]) == 20


@pytest.mark.parametrize(
    ("slots", "at_work", "before"),
    [
        (0, [], []),
        (1, [running(1), running(1)], []),
        (1, [running(None)], []),
        (2, [running(None)], []),
        (1, [running(5, Phase.PREPARING)], []),
        (1, [], [waiting(None)]),
        (1, [], [waiting(1), waiting(None)]),
    ],
)
def test_one_unknown_number_makes_it_unknown(slots: int, at_work: list[Job], before: list[Job]):
    """No worker, more jobs than slots, a job that has not told how long it will be, one without an estimate."""
    assert seconds_to_start(slots=slots, running=at_work, before=before) is None

"""How long an attempt may run, and be silent, by a clock that only the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.jobs.job import Job, Transition
from service.jobs.state import JobState, Reason
from worker.limits import LAST_CHECKPOINT_SECONDS, SLOW, Limits
from worker.outcomes import Ending

STALL = 10.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def job_of(*moves: tuple[JobState, float], **resources: Any) -> Job:
    """A job that came into these states so many seconds after it began."""
    transitions = tuple(Transition(state=state, at=BEGIN + timedelta(seconds=seconds)) for state, seconds in moves)
    return Job(id="job-1", spec={"resources": resources}, resolved_spec=None, created_at=BEGIN, transitions=transitions)


def limits_of(job: Job) -> tuple[Limits, Clock]:
    clock = Clock()
    return Limits(job, stall_seconds=STALL, now=clock), clock


def test_what_earlier_attempts_ran_counts() -> None:
    """A hundred seconds in all, of which sixty were run, and the wait between attempts is nobody's."""
    states = ((JobState.QUEUED, 0), (JobState.RUNNING, 5), (JobState.RUNNING, 30), (JobState.QUEUED, 65), (JobState.RUNNING, 500))
    limits, clock = limits_of(job_of(*states, timeout_seconds=100))

    clock.seconds += 40
    assert not limits.is_out_of_time()
    clock.seconds += 1
    assert limits.is_out_of_time()


def test_who_is_out_of_time_may_still_write_a_checkpoint() -> None:
    limits, clock = limits_of(job_of(timeout_seconds=100))

    clock.seconds += 100 + LAST_CHECKPOINT_SECONDS
    limits.heard()
    limits.check()
    clock.seconds += 1
    with pytest.raises(Ending) as ended:
        limits.check()

    assert ended.value.outcome.error is not None
    assert ended.value.outcome.error.code is Reason.TIMED_OUT


@pytest.mark.parametrize(("phase", "patience"), [(None, SLOW * STALL), ("training", STALL), ("exporting", SLOW * STALL)])
def test_silence_is_borne_for_as_long_as_the_phase_may_need(phase: str | None, patience: float) -> None:
    limits, clock = limits_of(job_of())
    clock.seconds += 5
    limits.heard()
    if phase is not None:
        limits.enter(phase)

    clock.seconds += patience
    limits.check()
    clock.seconds += 1
    with pytest.raises(Ending) as ended:
        limits.check()

    assert (ended.value.outcome.kind, ended.value.outcome.reason) == ("give_back", Reason.STALLED)

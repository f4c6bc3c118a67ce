"""The table of moves and the methods of a job that make them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from service.jobs.errors import IllegalTransition
from service.jobs.job import Job, JobError
from service.jobs.state import TERMINAL, TRANSITIONS, JobState, Phase, Reason

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ERROR = JobError(code=Reason.NAN_LOSS, message="The loss is NaN.")
MOVES: dict[JobState, Callable[[Job], Job]] = {
    JobState.RUNNING: lambda job: job.claimed(owner="w", token=job.token + 1, at=AT),
    JobState.SUCCEEDED: lambda job: job.succeeded(at=AT),
    JobState.FAILED: lambda job: job.failed(error=ERROR, at=AT),
    JobState.CANCELLED: lambda job: job.cancelled(at=AT),
    JobState.QUEUED: lambda job: job.requeued(reason=Reason.WORKER_LOST, retries=1, at=AT),
}


def job_in(state: JobState) -> Job:
    """A job in this state, whatever led to it."""
    return Job(id="j", state=state, created_at=AT, spec={})


@pytest.mark.parametrize("wanted", MOVES)
@pytest.mark.parametrize("state", JobState)
def test_a_job_moves_only_where_the_table_says(state: JobState, wanted: JobState) -> None:
    """Each method makes its move from the states of the table, and raises IllegalTransition from all others."""
    if wanted in TRANSITIONS[state]:
        assert MOVES[wanted](job_in(state)).state is wanted
    else:
        with pytest.raises(IllegalTransition):
            MOVES[wanted](job_in(state))


def test_terminal_states_have_no_way_out() -> None:
    """Succeeded, failed and cancelled are the ends; every other state reaches one."""
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == TERMINAL
    assert all(job_in(state).is_terminal == (state in TERMINAL) for state in JobState)


def test_a_whole_life_is_told_by_its_transitions() -> None:
    """Every move is recorded with its time and reason; attempts and versions grow; the first start stays."""
    later = AT.replace(hour=9)
    job = job_in(JobState.QUEUED).claimed(owner="a", token=1, at=AT)
    job = job.requeued(reason=Reason.DRAINED, retries=0, at=AT).claimed(owner="b", token=2, at=later).succeeded(at=later)

    assert [(step.state, step.phase, step.reason) for step in job.transitions] == [
        (JobState.RUNNING, Phase.PREPARING, None),
        (JobState.QUEUED, None, Reason.DRAINED),
        (JobState.RUNNING, Phase.PREPARING, None),
        (JobState.SUCCEEDED, None, None),
    ]
    assert (job.attempt, job.token, job.owner, job.version) == (2, 2, None, 5)
    assert (job.started_at, job.finished_at) == (AT, later)


def test_a_failed_job_keeps_the_error() -> None:
    """The reason of a failure is its error's code."""
    job = MOVES[JobState.FAILED](job_in(JobState.RUNNING))

    assert (job.error, job.reason, job.finished_at) == (ERROR, Reason.NAN_LOSS, AT)

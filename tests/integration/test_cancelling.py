"""Cancelling jobs that wait, run or end just now. One body of tests for Redis and for its twin in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.adapters.stores import Stores
from service.jobs.errors import IllegalTransition
from service.jobs.ports import Outcome
from service.jobs.state import JobState, Reason
from tests.integration.conftest import Clock
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit


def test_cancelling_a_waiting_job_ends_it(stores: Stores, new_job: NewJob) -> None:
    """A queued job is cancelled at once and claimed by nobody; cancelling it again is harmless."""
    job = submit(stores, new_job())

    cancelled = stores.requests.cancel("default", job.id)

    assert cancelled.state is JobState.CANCELLED
    assert stores.attempts.claim(worker="w", device="cpu") is None
    assert stores.requests.cancel("default", job.id) == cancelled


@pytest.mark.parametrize("kind", ["succeeded", "failed", "give_back", "cancelled"])
def test_a_cancel_flag_wins_over_every_outcome(stores: Stores, new_job: NewJob, kind: str) -> None:
    """A running job is flagged, its worker sees the flag, and whatever the attempt says it ends cancelled."""
    submit(stores, new_job())
    taken = claim(stores)

    flagged = stores.requests.cancel("default", taken.job.id)
    flags = stores.attempts.renew(taken)
    state = stores.attempts.finish(taken, Outcome(kind=kind, reason=Reason.STORAGE))

    assert (flagged.state, flagged.cancel_requested, flags.cancel) == (JobState.RUNNING, True, True)
    assert state is JobState.CANCELLED
    assert stores.jobs.find("default", taken.job.id).error is None


def test_cancelling_a_job_whose_lease_has_died_ends_it(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Nobody is left to read the flag, so the job ends there and then."""
    submit(stores, new_job())
    taken = claim(stores)
    clock.pass_by(61)

    assert stores.requests.cancel("default", taken.job.id).state is JobState.CANCELLED


def test_cancel_racing_finish_ends_in_one_terminal_state(stores: Stores, new_job: NewJob) -> None:
    """Two hundred times a user cancels while the attempt succeeds: each job ends once, and the record agrees with the answers."""
    for _ in range(200):
        submit(stores, new_job())
        taken = claim(stores)
        with ThreadPoolExecutor(2) as pool:
            cancelling = pool.submit(stores.requests.cancel, "default", taken.job.id)
            state = pool.submit(stores.attempts.finish, taken, SUCCEEDED).result()
        refused = isinstance(cancelling.exception(), IllegalTransition)

        job = stores.jobs.find("default", taken.job.id)
        assert job.state is state
        assert state is (JobState.SUCCEEDED if refused else JobState.CANCELLED)
        assert [step.state for step in job.transitions if step.state not in (JobState.QUEUED, JobState.RUNNING)] == [state]

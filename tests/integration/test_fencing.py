"""Leases and tokens: an attempt that lost its job changes nothing, and no job is lost with its worker."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.adapters.stores import Stores
from service.jobs.errors import Fenced
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import checkpoint_prefix
from service.jobs.ports import Claim, Outcome, Report
from service.jobs.state import JobState, Reason
from tests.integration.conftest import LEASE, Clock

NewJob = Callable[..., Job]
SWEEP = 5


def claimed(stores: Stores, job: Job | None = None) -> Claim:
    """Submit the job, if one is given, and claim the best."""
    if job is not None:
        stores.jobs.submit(job, idempotency=None)
    taken = stores.attempts.claim(worker="w", device="cpu")
    assert taken is not None
    return taken


def sweep_for(stores: Stores, clock: Clock, seconds: float) -> list[str]:
    """Let the time pass as sweepers see it; the ids they expired."""
    expired: list[str] = []
    for _ in range(int(seconds / SWEEP) + 1):
        expired += stores.housekeeping.expire()
        clock.pass_by(SWEEP)
    return expired


def pointer(token: int, step: int) -> CheckpointPointer:
    """A pointer to a checkpoint."""
    return CheckpointPointer(token=token, epoch=step, step=step, prefix=checkpoint_prefix("default", "job-0001", token, step))


def test_an_old_token_is_fenced_and_changes_nothing(stores: Stores, new_job: NewJob) -> None:
    """Every write of an attempt that is over raises Fenced and leaves record and tail alone."""
    old = claimed(stores, new_job())
    stores.attempts.finish(old, Outcome(kind="give_back", reason=Reason.DRAINED, counts=False))
    new = claimed(stores)
    before = stores.jobs.find("default", new.job.id), stores.facts.events("default", new.job.id, after=0, limit=100)

    for write in (
        lambda: stores.attempts.renew(old),
        lambda: stores.attempts.checkpoint(old, pointer(old.token, 9), keep=2),
        lambda: stores.facts.report(old, Report(logs=["late"], row={"epoch": 1, "step": 1}, metrics={"lr": 1.0})),
        lambda: stores.attempts.finish(old, Outcome(kind="succeeded")),
    ):
        with pytest.raises(Fenced):
            write()

    assert (stores.jobs.find("default", new.job.id), stores.facts.events("default", new.job.id, after=0, limit=100)) == before
    assert stores.facts.logs("default", new.job.id) == []


def test_an_ended_job_takes_no_more_writes(stores: Stores, new_job: NewJob) -> None:
    """After the end even the last attempt is fenced; its FINISH, asked again, answers the same."""
    taken = claimed(stores, new_job())
    stores.attempts.finish(taken, Outcome(kind="succeeded"))
    ended = stores.jobs.find("default", taken.job.id)

    for write in (
        lambda: stores.attempts.renew(taken),
        lambda: stores.attempts.checkpoint(taken, pointer(taken.token, 9), keep=2),
        lambda: stores.facts.report(taken, Report(logs=["late"])),
    ):
        with pytest.raises(Fenced):
            write()

    assert stores.attempts.finish(taken, Outcome(kind="failed")) is JobState.SUCCEEDED
    assert stores.jobs.find("default", taken.job.id) == ended


def test_a_dead_lease_gives_the_job_back(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A job whose worker fell silent waits again, one retry counted, and its old attempt is fenced."""
    sweep_for(stores, clock, 2 * LEASE)
    taken = claimed(stores, new_job())

    assert sweep_for(stores, clock, LEASE) == []
    assert sweep_for(stores, clock, 2 * SWEEP) == [taken.job.id]

    job = stores.jobs.find("default", taken.job.id)
    assert (job.state, job.reason, job.retries) == (JobState.QUEUED, Reason.WORKER_LOST, 1)
    with pytest.raises(Fenced):
        stores.attempts.renew(taken)
    with pytest.raises(Fenced):
        stores.attempts.finish(taken, Outcome(kind="succeeded"))
    assert claimed(stores).job.attempt == 2


def test_a_renewed_lease_lives(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A worker that renews every third of a lease keeps its job for ever."""
    sweep_for(stores, clock, 2 * LEASE)
    taken = claimed(stores, new_job())

    for _ in range(12):
        assert sweep_for(stores, clock, LEASE / 3) == []
        stores.attempts.renew(taken)


def test_a_lost_worker_uses_up_retries(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """The job of a worker that is lost once more than max_retries fails, and says that the worker was lost."""
    sweep_for(stores, clock, 2 * LEASE)
    claimed(stores, new_job(max_retries=0))

    sweep_for(stores, clock, LEASE + 2 * SWEEP)

    job = stores.jobs.find("default", "job-0001")
    assert (job.state, job.reason) == (JobState.FAILED, Reason.WORKER_LOST)
    assert job.error is not None
    assert "no retries" in job.error.message


def test_an_expired_job_with_a_cancel_flag_is_cancelled(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """The user's word outlives the worker that should have heard it."""
    sweep_for(stores, clock, 2 * LEASE)
    taken = claimed(stores, new_job())
    stores.requests.cancel("default", taken.job.id)

    sweep_for(stores, clock, LEASE + 2 * SWEEP)

    assert stores.jobs.find("default", taken.job.id).state is JobState.CANCELLED


def test_nothing_expires_right_after_a_gap_in_sweeping(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """When Redis or the machine slept, workers get one lease more to renew; only then their jobs are given back."""
    sweep_for(stores, clock, 2 * LEASE)
    taken = claimed(stores, new_job())
    clock.pass_by(3600)

    assert sweep_for(stores, clock, LEASE - 2 * SWEEP) == []
    stores.attempts.renew(taken)
    assert sweep_for(stores, clock, LEASE - SWEEP) == []
    assert sweep_for(stores, clock, 4 * SWEEP) == [taken.job.id]


def test_three_sweepers_expire_a_job_once(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Sweepers at the same moment give each job back once."""
    sweep_for(stores, clock, 2 * LEASE)
    ids = [claimed(stores, new_job()).job.id for _ in range(10)]
    for _ in range(13):
        stores.housekeeping.expire()
        clock.pass_by(SWEEP)

    with ThreadPoolExecutor(3) as pool:
        expired = [job_id for found in pool.map(lambda _: stores.housekeeping.expire(), range(3)) for job_id in found]

    assert sorted(expired) == ids
    assert {stores.jobs.find("default", job_id).retries for job_id in ids} == {1}


def test_the_checkpoint_moves_forward_only(stores: Stores, new_job: NewJob) -> None:
    """A later step replaces an earlier one, never the reverse; a newer attempt's checkpoint replaces both."""
    taken = claimed(stores, new_job())

    def after(token: int, step: int) -> int:
        stores.attempts.checkpoint(taken, pointer(token, step), keep=2)
        current = stores.jobs.find("default", taken.job.id).checkpoint
        assert current is not None
        return current.step

    assert [after(taken.token, step) for step in (10, 20, 15, 20, 30)] == [10, 20, 20, 20, 30]
    assert after(taken.token - 1, 99) == 30
    assert after(taken.token + 1, 5) == 5


def test_a_checkpoint_makes_retries_count_anew(stores: Stores, new_job: NewJob) -> None:
    """A job that goes forward between its losses is never out of retries; one that stands still is."""
    stores.jobs.submit(new_job(max_retries=1), idempotency=None)
    lost = Outcome(kind="give_back", reason=Reason.WORKER_LOST)

    for step in range(4):
        taken = claimed(stores)
        stores.attempts.checkpoint(taken, pointer(taken.token, step), keep=2)
        assert stores.attempts.finish(taken, lost) is JobState.QUEUED

    assert stores.attempts.finish(claimed(stores), lost) is JobState.FAILED
    assert stores.jobs.find("default", "job-0001").retries == 4


def test_a_resumed_attempt_knows_the_checkpoint(stores: Stores, new_job: NewJob) -> None:
    """The next claim carries the pointer to start from."""
    taken = claimed(stores, new_job())
    stores.attempts.checkpoint(taken, pointer(taken.token, 7), keep=2)
    stores.attempts.finish(taken, Outcome(kind="give_back", reason=Reason.STALLED))

    assert claimed(stores).job.checkpoint == pointer(taken.token, 7)

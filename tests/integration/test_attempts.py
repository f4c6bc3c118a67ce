"""Attempts at jobs: who gets which, and how they end. One body of tests for Redis and for its twin in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from service.adapters.stores import Stores
from service.jobs.errors import IllegalTransition
from service.jobs.job import JobError
from service.jobs.ports import Outcome, WorkerBeat
from service.jobs.state import JobState, Phase, Reason
from tests.integration.conftest import Clock
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit


def test_twenty_claimers_take_five_jobs_once_each(stores: Stores, new_job: NewJob) -> None:
    """No job is claimed twice, and none is left."""
    ids = {submit(stores, new_job()).id for _ in range(5)}

    with ThreadPoolExecutor(20) as pool:
        claims = [taken for taken in pool.map(lambda n: stores.attempts.claim(worker=f"w{n}", device="cpu"), range(20)) if taken]

    assert sorted(taken.job.id for taken in claims) == sorted(ids)


def test_a_claim_starts_the_next_attempt(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A claimed job runs under its worker's name, in its first phase, with a token as old as the clock."""
    submit(stores, new_job())
    clock.pass_by(3)

    taken = claim(stores, "w7")

    job = stores.jobs.find("default", taken.job.id)
    assert job == taken.job
    assert (job.state, job.phase, job.owner, job.attempt) == (JobState.RUNNING, Phase.PREPARING, "w7", 1)
    assert (taken.token, job.started_at) == (clock.ms, clock.now())


def test_a_worker_claims_only_its_own_class(stores: Stores, new_job: NewJob) -> None:
    """A CPU worker leaves GPU jobs alone."""
    submit(stores, new_job(device="gpu"))

    assert stores.attempts.claim(worker="w", device="cpu") is None
    assert stores.attempts.claim(worker="w", device="gpu") is not None


def test_the_pending_order_is_priority_then_age(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Higher priority first, then older; positions say so from 1."""
    jobs = []
    for priority in (0, -100, 0, 100):
        jobs.append(submit(stores, new_job(priority=priority)))
        clock.pass_by(1)

    positions = [stores.jobs.position(job) for job in jobs]
    order = [claim(stores).job.id for _ in jobs]

    assert positions == [2, 4, 3, 1]
    assert order == [jobs[3].id, jobs[0].id, jobs[2].id, jobs[1].id]
    assert [stores.jobs.position(job) for job in jobs] == [None] * 4


def test_the_project_with_the_fewest_running_jobs_goes_first(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A project that posted a hundred jobs does not keep another's single one waiting."""
    for project in ("big", "big", "big", "small"):
        submit(stores, new_job(project=project))
        clock.pass_by(1)

    assert [claim(stores).job.project for _ in range(4)] == ["big", "small", "big", "big"]


def test_a_given_back_job_keeps_its_place(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A drained job goes on before jobs that were submitted later, with a higher token and no retry counted."""
    first = submit(stores, new_job())
    clock.pass_by(1)
    submit(stores, new_job())
    taken = claim(stores)

    state = stores.attempts.finish(taken, Outcome(kind="give_back", reason=Reason.DRAINED, counts=False))
    given_back = stores.jobs.find("default", first.id)
    again = claim(stores)

    assert (state, given_back.reason, given_back.retries, given_back.owner) == (JobState.QUEUED, Reason.DRAINED, 0, None)
    assert (again.job.id, again.job.attempt) == (first.id, 2)
    assert again.token > taken.token


def test_tokens_grow_though_the_clock_stands_or_goes_back(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A new attempt's token is always greater than the last one's."""
    submit(stores, new_job())
    tokens = []
    for seconds in (0, 0, -3600):
        clock.pass_by(seconds)
        taken = claim(stores)
        tokens.append(taken.token)
        stores.attempts.finish(taken, Outcome(kind="give_back", reason=Reason.DRAINED, counts=False))

    assert tokens == sorted(set(tokens))


def test_a_success_is_final(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A succeeded job has its time, no owner and no phase; cancelling it is refused and changes nothing."""
    submit(stores, new_job())
    taken = claim(stores)
    clock.pass_by(5)

    assert stores.attempts.finish(taken, SUCCEEDED) is JobState.SUCCEEDED
    job = stores.jobs.find("default", taken.job.id)
    with pytest.raises(IllegalTransition):
        stores.requests.cancel("default", job.id)

    assert (job.owner, job.phase, job.finished_at) == (None, None, clock.now())
    assert stores.jobs.find("default", job.id) == job


def test_a_failure_says_why(stores: Stores, new_job: NewJob) -> None:
    """A failed job carries the attempt's error and its code as the reason."""
    submit(stores, new_job())
    error = JobError(code=Reason.NAN_LOSS, message='The loss is "NaN" → Infinity', hint="Lower lr.")

    assert stores.attempts.finish(claim(stores), Outcome(kind="failed", error=error)) is JobState.FAILED

    job = stores.jobs.find("default", "job-0001")
    assert (job.error, job.reason) == (error, Reason.NAN_LOSS)


def test_retries_are_used_up(stores: Stores, new_job: NewJob) -> None:
    """After max_retries counted returns the next one fails the job, with the reason of that last return."""
    submit(stores, new_job(max_retries=2))

    states = [stores.attempts.finish(claim(stores), Outcome(kind="give_back", reason=Reason.TRAINER_LOST)) for _ in range(3)]

    job = stores.jobs.find("default", "job-0001")
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    assert (job.retries, job.attempt, job.reason) == (2, 3, Reason.TRAINER_LOST)
    assert job.error is not None
    assert job.error.code is Reason.TRAINER_LOST


def test_workers_are_known_until_they_leave(stores: Stores) -> None:
    """Beats are listed by name, the newest of each; who leaves is gone."""
    first = WorkerBeat(name="a", device="cpu", slots=2, busy=0, threads=1, versions={"torch": "2"}, jobs=["j"])
    stores.workers.beat(WorkerBeat(name="b", device="gpu", slots=1, busy=0, threads=1))
    stores.workers.beat(first)
    stores.workers.beat(WorkerBeat(name="a", device="cpu", slots=2, busy=1, threads=1))

    beats = stores.workers.workers()
    stores.workers.leave("a")

    assert [(beat.name, beat.busy) for beat in beats] == [("a", 1), ("b", 0)]
    newest, earlier = (beat.at for beat in beats)
    assert newest is not None
    assert earlier is not None
    assert timedelta() <= newest - earlier < timedelta(minutes=1)
    assert [beat.name for beat in stores.workers.workers()] == ["b"]

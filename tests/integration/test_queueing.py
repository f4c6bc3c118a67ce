"""What waits, and what workers have been at, one body of tests for Redis and for its twin in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from service import use_cases
from service.adapters.stores import Stores
from service.jobs.job import Job
from service.jobs.ports import Claim, Outcome, Report, WorkerBeat
from service.jobs.state import JobState, Reason
from service.spec.verdict import Estimate
from tests.integration.conftest import LEASE, Clock
from tests.services import services_of

NewJob = Callable[..., Job]


def submit(stores: Stores, job: Job) -> str:
    return stores.jobs.submit(job, idempotency=None).job.id


def claim(stores: Stores, worker: str = "w1") -> Claim:
    taken = stores.attempts.claim(worker=worker, device="cpu")
    assert taken is not None
    return taken


def beat(stores: Stores, *, slots: int = 1, busy: int = 0, name: str = "w1") -> None:
    stores.workers.beat(WorkerBeat(name=name, device="cpu", slots=slots, busy=busy, threads=1))


def cpu(stores: Stores, clock: Clock, project: str = "default", **settings: int) -> use_cases.Waiting:
    first, second = use_cases.queue(project, services=services_of(stores, now=clock.now, **settings))
    assert (first.device, second.device) == ("cpu", "gpu")
    return first


def test_the_queue_tells_what_waits_in_its_order(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Of each class the project's own jobs, the first fifty of them, and everybody's slots."""
    running = submit(stores, new_job(priority=100))
    ids = []
    for _ in range(53):
        ids.append(submit(stores, new_job()))
        clock.pass_by(1)
    first = submit(stores, new_job(priority=9))
    gpu = submit(stores, new_job(device="gpu"))
    claim(stores)
    beat(stores, slots=3, busy=1)

    found, on_gpu = use_cases.queue("default", services=services_of(stores, now=clock.now))

    assert (found.waiting, found.running, found.slots, found.idle) == (54, 1, 3, 2)
    assert [job.id for job, _ in found.jobs] == [first, *ids[:49]]
    assert running not in [job.id for job, _ in found.jobs]
    assert (on_gpu.waiting, on_gpu.running, on_gpu.slots, on_gpu.idle) == (1, 0, 0, 0)
    assert [(job.id, start) for job, start in on_gpu.jobs] == [(gpu, None)]


def test_the_queue_says_when_each_job_starts(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """One after the other on the slot that is free first; behind a job without an estimate nobody knows."""
    known = {"estimate": Estimate(seconds_per_epoch=2.0)}
    for fields in ({}, known, known, {}, known):
        submit(stores, new_job(**fields))
        clock.pass_by(1)
    taken = claim(stores)
    stores.facts.report(taken, Report(phase="training", progress={"epoch": 0, "epochs": 5, "eta_seconds": 4.0}))
    beat(stores, busy=1)

    starts = [start and start - clock.now() for _, start in cpu(stores, clock).jobs]

    assert starts == [timedelta(seconds=4), timedelta(seconds=14), timedelta(seconds=24), None]


@pytest.mark.parametrize("runs", [True, False])
def test_where_projects_take_turns_the_queue_names_no_time(stores: Stores, new_job: NewJob, clock: Clock, runs: bool) -> None:
    """And counts none of the other project's jobs."""
    submit(stores, new_job(project="other"))
    if runs:
        claim(stores)
    own = submit(stores, new_job(estimate=Estimate(seconds_per_epoch=1.0)))
    beat(stores, slots=2, busy=int(runs))

    found = cpu(stores, clock)

    assert (found.waiting, found.running, found.slots) == (1, 0, 2)
    assert [(job.id, start) for job, start in found.jobs] == [(own, None)]


def history(stores: Stores, worker: str = "w1", project: str = "default") -> list[tuple[str, str | None, JobState, float, float | None]]:
    """Each attempt, its times in seconds since the first beginning of the clock."""
    start = Clock().now()
    told = stores.workers.history(project, [worker, "nobody"])
    assert told["nobody"] == []
    return [
        (
            each.id,
            each.name,
            each.state,
            (each.started_at - start).total_seconds(),
            each.ended_at and (each.ended_at - start).total_seconds(),
        )
        for each in told[worker]
    ]


def test_a_workers_history_tells_its_attempts(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """The newest first, with the time of each; a job that was given back is told as it is now."""
    submit(stores, new_job(project="other"))
    claim(stores, "w2")
    first, second = submit(stores, new_job(name="a")), submit(stores, new_job())
    beat(stores)
    taken = claim(stores)
    clock.pass_by(3)
    stores.attempts.finish(taken, Outcome(kind="succeeded"))
    clock.pass_by(1)
    taken = claim(stores)
    assert history(stores)[0] == (second, None, JobState.RUNNING, 4, None)

    clock.pass_by(1)
    stores.attempts.finish(taken, Outcome(kind="give_back", reason=Reason.DRAINED, counts=False))
    stores.attempts.finish(taken, Outcome(kind="give_back", reason=Reason.DRAINED, counts=False))

    assert history(stores) == [(second, None, JobState.QUEUED, 4, 5), (first, "a", JobState.SUCCEEDED, 0, 3)]
    assert history(stores, "w2") == []
    assert len(history(stores, "w2", "other")) == 1


@pytest.mark.parametrize("end", ["expire", "cancel", "pause"])
def test_an_attempt_that_lost_its_lease_has_ended(stores: Stores, new_job: NewJob, clock: Clock, end: str) -> None:
    """Whoever ends it."""
    stores.housekeeping.expire()
    job_id = submit(stores, new_job())
    claim(stores)
    for _ in range(3 * LEASE // 5):
        clock.pass_by(5)
        if end == "expire":
            stores.housekeeping.expire()
    if end != "expire":
        getattr(stores.requests, end)("default", job_id)

    ((found, _, state, started, ended),) = history(stores)

    assert (found, started) == (job_id, 0)
    assert state is {"expire": JobState.QUEUED, "cancel": JobState.CANCELLED, "pause": JobState.PAUSED}[end]
    assert ended is not None
    assert LEASE < ended <= 3 * LEASE


def test_only_the_last_attempts_are_kept_and_only_of_jobs_that_are_there(stores: Stores, new_job: NewJob) -> None:
    """Twenty of them; a worker that leaves takes them along."""
    ids = []
    for _ in range(23):
        ids.append(submit(stores, new_job()))
        stores.attempts.finish(claim(stores), Outcome(kind="succeeded"))
    stores.requests.delete("default", ids[21])

    assert [each[0] for each in history(stores)] == [ids[22], *ids[20:2:-1]]
    stores.workers.leave("w1")
    assert history(stores) == []


def test_a_dead_workers_history_goes_with_it(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """As its last beat does; each beat keeps both."""
    submit(redis_stores, new_job())
    claim(redis_stores)
    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.pttl("ty:worked:w1") <= 30_000
        client.persist("ty:worked:w1")
        beat(redis_stores)
        assert 0 < client.pttl("ty:worked:w1") <= 30_000


def test_workers_are_told_with_their_machine_and_history(stores: Stores, new_job: NewJob) -> None:
    """By name."""
    job_id = submit(stores, new_job())
    stores.workers.beat(WorkerBeat(name="w2", device="cpu", slots=1, busy=0, threads=1))
    stores.workers.beat(WorkerBeat(name="w1", device="cpu", slots=1, busy=1, threads=1, device_name="EPYC", memory_bytes=2**33))
    claim(stores)

    first, second = use_cases.workers("default", services=services_of(stores))

    assert (first[0].name, first[0].device_name, first[0].memory_bytes, [each.id for each in first[1]]) == ("w1", "EPYC", 2**33, [job_id])
    assert (second[0].name, second[0].device_name, second[1]) == ("w2", None, [])

"""What monitors are told, by both stores alike: queues, waits, ends by reason, lost leases, records that wait for storage. Cheap however many jobs wait."""

from __future__ import annotations

import time
from datetime import timedelta

import redis

from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.stores import Stores
from service.jobs.ports import Line, Outcome, Report, WorkerBeat
from service.jobs.state import Reason
from tests.integration.conftest import LEASE, Clock
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit

FIRST_STEP = Report(events=[{"type": "first_step", "message": "", "data": {}}])


def test_queues_are_told_by_class_and_project_with_the_age_of_the_oldest(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """The oldest is the one that was submitted first, wherever its priority puts it."""
    begin = clock.now()
    submit(stores, new_job(priority=-5))
    clock.pass_by(10)
    submit(stores, new_job(priority=7))
    submit(stores, new_job())
    clock.pass_by(10)
    submit(stores, new_job(project="theirs", device="gpu"))
    claim(stores)

    standing = stores.monitor.standing()

    assert standing.at == begin + timedelta(seconds=20)
    assert standing.lines == [
        Line(device="cpu", project="default", waiting=2, oldest_at=begin, running=1),
        Line(device="gpu", project="theirs", waiting=1, oldest_at=begin + timedelta(seconds=20)),
    ]


def test_ends_are_counted_by_what_ended_them(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Attempts by outcome and reason, jobs by state and reason, lost leases; what is told twice counts once."""
    for outcome in (
        SUCCEEDED,
        Outcome(kind="failed", reason=Reason.NAN_LOSS),
        Outcome(kind="give_back", reason=Reason.DRAINED, counts=False),
    ):
        submit(stores, new_job(max_retries=0))
        held = claim(stores)
        stores.attempts.finish(held, outcome)
        stores.attempts.finish(held, outcome)
    lost = claim(stores)
    stores.housekeeping.expire()
    clock.pass_by(4)
    stores.housekeeping.expire()
    for _ in range(30):
        clock.pass_by(LEASE / 10)
        stores.housekeeping.expire()
    cancelled = submit(stores, new_job())
    stores.requests.cancel("default", cancelled.id)

    counts = {words: count for words, count in stores.monitor.standing().counts.items() if words[0] in ("submitted", "attempt", "ended")}

    assert lost.job.attempt == 2
    assert counts == {
        ("submitted", "cpu"): 4,
        ("attempt", "cpu", "succeeded", ""): 1,
        ("attempt", "cpu", "failed", "nan_loss"): 1,
        ("attempt", "cpu", "give_back", "drained"): 1,
        ("attempt", "cpu", "lost", "worker_lost"): 1,
        ("ended", "cpu", "succeeded", ""): 1,
        ("ended", "cpu", "failed", "nan_loss"): 1,
        ("ended", "cpu", "failed", "worker_lost"): 1,
        ("ended", "cpu", "cancelled", ""): 1,
    }


def test_waits_and_first_steps_are_timed_once_a_job(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """From submit to claim, and to the first step of the first attempt; a second attempt adds nothing."""
    submit(stores, new_job())
    clock.pass_by(3)
    held = claim(stores)
    clock.pass_by(4)
    stores.facts.report(held, FIRST_STEP)
    stores.facts.report(held, FIRST_STEP)
    stores.attempts.finish(held, Outcome(kind="give_back", reason=Reason.TRAINER_LOST))
    clock.pass_by(100)
    stores.facts.report(claim(stores), FIRST_STEP)

    counts = {words: count for words, count in stores.monitor.standing().counts.items() if words[0] in ("wait", "first_step")}

    assert counts == {
        ("wait", "cpu", "5"): 1,
        ("wait", "cpu", "ms"): 3000,
        ("first_step", "cpu", "10"): 1,
        ("first_step", "cpu", "ms"): 7000,
    }


def test_what_storage_has_not_is_as_old_as_its_first_change(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A change of a record that waits already does not make it younger; saved, nothing waits."""
    begin = clock.now()
    submit(stores, new_job())
    clock.pass_by(30)
    claim(stores)
    standing = stores.monitor.standing()
    assert (standing.unsaved, standing.unsaved_since) == (1, begin)

    stores.sweeper(artifacts=MemoryArtifacts(), doorbell=MemoryDoorbell()).save()

    standing = stores.monitor.standing()
    assert (standing.unsaved, standing.unsaved_since) == (0, None)


def test_workers_are_told_with_what_they_hold_back(stores: Stores) -> None:
    """As they beat."""
    stores.workers.beat(WorkerBeat(name="w", device="cpu", slots=2, busy=1, threads=1, held_uploads=3, held_seconds=12.5))

    told = stores.monitor.standing().workers

    assert [(worker.name, worker.busy, worker.held_uploads, worker.held_seconds) for worker in told] == [("w", 1, 3, 12.5)]


def test_a_look_is_cheap_though_a_hundred_thousand_jobs_wait(redis_stores: Stores, redis_url: str, clock: Clock) -> None:
    """Two hundred projects with jobs of five priorities; the median of twenty looks."""
    with redis.Redis.from_url(redis_url) as client, client.pipeline(transaction=False) as pipeline:
        for project in range(200):
            scores = {f"job_{project}_{at}": -(at % 5) * 2**42 + clock.ms + at for at in range(500)}
            pipeline.zadd(f"ty:pending:cpu:p{project}", scores)
            pipeline.sadd("ty:waiting:cpu", f"p{project}")
        pipeline.zadd("ty:unsaved", {f"job_{at}": at for at in range(100_000)})
        pipeline.execute()
    took = []
    for _ in range(20):
        begin = time.perf_counter()
        standing = redis_stores.monitor.standing()
        took.append(time.perf_counter() - begin)

    assert sum(line.waiting for line in standing.lines) == 100_000
    assert standing.used_bytes
    assert standing.most_bytes == 512 * 2**20
    assert sorted(took)[10] < 0.1, took

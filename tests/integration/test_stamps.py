"""What is asked before a remembered answer is given again: it is another as soon as anything of the job is, on both legs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import redis

from service.adapters import redis_jobs
from service.adapters.stores import Stores
from service.jobs.errors import JobNotFound
from service.jobs.job import CheckpointPointer, Job
from service.jobs.ports import Outcome, Report
from service.jobs.state import JobState

NewJob = Callable[..., Job]


def told(stores: Stores, job_id: str) -> dict[str, Any]:
    """All that is ever told of a job, but for its place in the queue."""
    facts = stores.facts
    return {
        "job": stores.jobs.find("default", job_id).model_dump(),
        "events": facts.events("default", job_id, after=0, limit=1000),
        "metrics": facts.metrics("default", job_id),
        "steps": [*(facts.steps("default", job_id) or ())],
        "logs": facts.logs("default", job_id),
    }


def stamps(stores: Stores, *job_ids: str) -> list[str]:
    """Theirs, and that of the newest three."""

    async def ask() -> list[str]:
        try:
            of = [(await stores.stamps.of("default", job_id)).text for job_id in job_ids]
            return [*of, await stores.stamps.of_newest("default", limit=3)]
        finally:
            await stores.stamps.aclose()

    return asyncio.run(ask())


def test_a_stamp_is_another_after_everything_that_changes_what_is_told(stores: Stores, new_job: NewJob) -> None:
    """And the same where nothing did."""
    job = stores.jobs.submit(new_job(), idempotency=None).job
    steps: list[Callable[[], object]] = [
        lambda: stores.requests.pause("default", job.id),
        lambda: stores.requests.resume("default", job.id),
        lambda: held.append(stores.attempts.claim(worker="w", device="cpu")),
        lambda: stores.facts.report(held[0], Report(phase="training")),
        lambda: stores.facts.report(held[0], Report(row={"epoch": 1, "step": 4, "train_loss": 0.5}, metrics={"train_loss": 0.5})),
        lambda: stores.facts.report(held[0], Report(steps=[(5, 1, 0.25, 0.1)])),
        lambda: stores.facts.report(held[0], Report(logs=["a line"])),
        lambda: stores.facts.report(held[0], Report(events=[{"type": "note", "message": "hear", "data": {"a": 0.1}}])),
        lambda: stores.attempts.checkpoint(
            held[0], CheckpointPointer(token=held[0].token, epoch=1, step=4, prefix="projects/default/jobs/x/p/"), keep=2
        ),
        lambda: stores.requests.pause("default", job.id),
        lambda: stores.requests.resume("default", job.id),
        lambda: stores.attempts.finish(held[0], Outcome(kind="succeeded")),
    ]
    held: list[Any] = []

    for number, step in enumerate(steps):
        before, was = told(stores, job.id), stamps(stores, job.id)
        step()
        assert told(stores, job.id) != before, number
        (one, newest), now = was, stamps(stores, job.id)
        assert now[0] != one, number
        assert now[1] != newest, number
        assert stamps(stores, job.id) == now


def test_a_stamp_of_a_job_that_was_put_away_stands_for_what_was_told_before(stores: Stores, new_job: NewJob) -> None:
    """Its record is compressed then; what users read is the same."""
    job = stores.jobs.submit(new_job(), idempotency=None).job
    stores.requests.cancel("default", job.id)
    before = stores.jobs.find("default", job.id)

    stores.housekeeping.saved(before)

    assert stores.jobs.find("default", job.id) == before
    assert stamps(stores, job.id) == stamps(stores, job.id)


def test_the_newest_are_stamped_with_their_places_in_the_queue(stores: Stores, new_job: NewJob) -> None:
    """A job moves up when one before it is cancelled, though nothing of the job itself is another."""
    first, second = (stores.jobs.submit(new_job(), idempotency=None).job for _ in range(2))
    alone, _ = stamps(stores, second.id)
    for_two = asyncio.run(newest(stores, limit=1))

    stores.requests.cancel("default", first.id)

    assert stamps(stores, second.id)[0] == alone
    assert asyncio.run(newest(stores, limit=1)) != for_two


async def newest(stores: Stores, *, limit: int) -> str:
    try:
        return await stores.stamps.of_newest("default", limit=limit)
    finally:
        await stores.stamps.aclose()


def test_the_newest_are_those_that_are_listed(redis_stores: Stores, new_job: NewJob) -> None:
    """In the same order, whatever their states, of this project alone."""
    jobs = [redis_stores.jobs.submit(new_job(), idempotency=None).job for _ in range(6)]
    redis_stores.requests.cancel("default", jobs[2].id)
    redis_stores.requests.pause("default", jobs[4].id)
    redis_stores.jobs.submit(new_job(project="other"), idempotency=None)

    text = asyncio.run(newest(redis_stores, limit=5))

    listed = redis_stores.jobs.list("default", limit=5, cursor=None).jobs
    assert [line.split("|")[0] for line in text.split("\n")] == [job.id for job in listed]


@pytest.mark.parametrize("project", ["default", "other"])
def test_what_is_not_there_or_anothers_has_no_stamp(stores: Stores, new_job: NewJob, project: str) -> None:
    job = stores.jobs.submit(new_job(project="red"), idempotency=None).job

    async def ask() -> None:
        try:
            assert (await stores.stamps.of("red", job.id)).state is JobState.QUEUED
            with pytest.raises(JobNotFound):
                await stores.stamps.of(project, job.id)
            with pytest.raises(JobNotFound):
                await stores.stamps.of("red", "none")
            assert await stores.stamps.of_newest(project, limit=9) == ""
        finally:
            await stores.stamps.aclose()

    asyncio.run(ask())


def test_stamps_survive_what_their_connection_does_not(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """A Redis that forgot its scripts, and one that hung up."""
    job = redis_stores.jobs.submit(new_job(), idempotency=None).job

    async def ask() -> None:
        first = await redis_stores.stamps.of("default", job.id)
        with redis.Redis.from_url(redis_url) as client:
            client.script_flush()
            assert await redis_stores.stamps.of("default", job.id) == first
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert await redis_stores.stamps.of("default", job.id) == first
        await redis_stores.stamps.aclose()

    asyncio.run(ask())


def test_an_event_loop_that_was_busy_does_not_take_an_answer_that_has_come_for_none(
    store_url: str, redis_url: str, new_job: NewJob
) -> None:
    """Ten thousand streams that wake at once hold it for longer than Redis may take."""
    with closing(redis_jobs.connect(store_url, socket_seconds=0.2)) as stores:
        job = stores.jobs.submit(new_job(), idempotency=None).job

        async def ask() -> None:
            # the first may teach Redis the script, by another connection
            first, _ = [await stores.stamps.of("default", job.id) for _ in range(2)]
            asked = asyncio.create_task(stores.stamps.of("default", job.id))
            with redis.Redis.from_url(redis_url) as client:
                client.execute_command("CLIENT", "PAUSE", "100", "ALL")
            for _ in range(3):  # until the question has left
                await asyncio.sleep(0)
            time.sleep(0.5)  # noqa: ASYNC251  # the loop is busy
            assert await asked == first
            await stores.stamps.aclose()

        asyncio.run(ask())

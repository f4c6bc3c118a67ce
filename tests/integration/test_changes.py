"""Waiting for a job to change. One body of tests for Redis and for its twin in memory."""

from __future__ import annotations

import asyncio
import threading

from service.adapters.stores import Stores
from tests.integration.steps import NewJob, submit


def test_who_waits_learns_of_a_change(stores: Stores, new_job: NewJob) -> None:
    """A watch ends as soon as the job changes, whoever changes it, and times out when nothing happens."""

    async def story() -> tuple[bool, bool]:
        submit(stores, new_job())
        with stores.changes.watch("job-0001") as watch:
            while await watch.wait(0.5):
                pass  # the subscription's own false alarms
            threading.Thread(target=stores.requests.cancel, args=("default", "job-0001")).start()
            told = await watch.wait(20)
            return told, await watch.wait(0.05)

    assert asyncio.run(story()) == (True, False)


def test_a_job_that_changed_before_the_wait_is_told_at_once(stores: Stores, new_job: NewJob) -> None:
    """A watch that was entered before the first read misses nothing."""

    async def story() -> bool:
        submit(stores, new_job())
        with stores.changes.watch("job-0001") as watch:
            await asyncio.to_thread(stores.requests.cancel, "default", "job-0001")
            return await watch.wait(20)

    assert asyncio.run(story())

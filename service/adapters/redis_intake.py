"""Taking jobs in without a thread for each: SUBMIT over the event loop's own connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from service.adapters.redis_line import Lines
from service.jobs.job import Job
from service.jobs.ports import Idempotency, Outlook, Submitted

if TYPE_CHECKING:
    from service.adapters.redis_jobs import RedisJobs


class RedisIntake:
    """The Intake port. Whatever goes wrong on its connection, the store proper tries once more: SUBMIT may be repeated."""

    def __init__(self, url: str, jobs: RedisJobs, *, seconds: float) -> None:
        self._lines = Lines(url, seconds=seconds)
        self._jobs = jobs

    async def submit(self, job: Job, *, shape: str, idempotency: Idempotency | None, outlook: Outlook | None) -> Submitted:
        """As JobStore.submit. Raises IdempotencyConflict, Outdated, StoreUnavailable."""
        command = self._jobs.submission(job, shape=shape, idempotency=idempotency, outlook=outlook)
        try:
            answer = await self._lines.ask(command)
        except RedisError:  # the connection broke, or the script is not there: the store knows what to do
            return await asyncio.to_thread(self._jobs.submit, job, idempotency=idempotency, outlook=outlook)
        return self._jobs.submitted(answer, job, idempotency=idempotency)

    async def aclose(self) -> None:
        """Let the connection go."""
        await self._lines.aclose()

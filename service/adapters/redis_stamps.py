"""What jobs are at, without a thread for each question: STAMP and NEWEST over the event loop's own connection."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import RedisError

from service.adapters.redis_line import Lines
from service.adapters.redis_scripts import Scripts
from service.jobs.errors import JobNotFound
from service.jobs.ports import Stamp
from service.jobs.state import JobState


class RedisStamps:
    """The Stamps port. Whatever goes wrong on its connection, the scripts' own client tries once more."""

    def __init__(self, url: str, scripts: Scripts, *, seconds: float) -> None:
        self._lines, self._scripts = Lines(url, seconds=seconds), scripts

    async def of(self, project: str, job_id: str) -> Stamp:
        """One job's. Raises JobNotFound, StoreUnavailable."""
        told = await self._ask("stamp", job_id)
        if told is None:
            raise JobNotFound(job_id)
        text = told.decode()
        owner, state, _ = text.split("|", 2)
        if owner != project:
            raise JobNotFound(job_id)
        return Stamp(text, JobState(state))

    async def of_newest(self, project: str, *, limit: int) -> str:
        """Another text as soon as anything of the project's newest jobs is another, or where they stand in the queue. Raises StoreUnavailable."""
        text: bytes = await self._ask("newest", project, limit)
        return text.decode()

    async def aclose(self) -> None:
        """Let the connection go."""
        await self._lines.aclose()

    async def _ask(self, name: str, *args: str | int) -> Any:
        try:
            return await self._lines.ask(self._scripts.command(name, *args))
        except RedisError:  # the connection broke, or the script is not there: the client knows what to do
            return await asyncio.to_thread(self._scripts.call, name, *args)

"""Threads of their own for what takes long: checking specs, moving data, asking models. Quick answers never wait behind those."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from service.api.problems import Refused

T = TypeVar("T")
P = ParamSpec("P")
WAITING = 100
"""Requests that may wait for a thread, of each kind."""


class Apart:
    """So many threads for one kind of work. Used in one event loop only."""

    def __init__(self, threads: int) -> None:
        self._limiter = anyio.CapacityLimiter(threads)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the work returns. Raises Refused where too many wait already."""
        if self._limiter.statistics().tasks_waiting >= WAITING:
            raise Refused(503, "busy", "Too many requests of this kind are waiting already.", headers={"Retry-After": "2"})
        return await anyio.to_thread.run_sync(partial(work, *args, **kwargs), limiter=self._limiter)


class Rooms:
    """Every kind of such work."""

    def __init__(self) -> None:
        self.reading = Apart(2)
        """Bodies made into objects: nothing but Python at work, so more threads would only get into each other's way."""
        self.checking = Apart(16)
        self.moving = Apart(8)
        self.asking = Apart(4)

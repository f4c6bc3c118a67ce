"""Coroutines that watch jobs for changes, woken from any thread. Where the news comes from is the adapters' matter."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import Self


class Waiters:
    """Who watches which job, in any number of event loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: defaultdict[str, set[JobWatch]] = defaultdict(set)

    def add(self, watch: JobWatch) -> None:
        """From now on `wake` reaches this watch."""
        with self._lock:
            self._watches[watch.job_id].add(watch)

    def discard(self, watch: JobWatch) -> None:
        """The watch is over."""
        with self._lock:
            self._watches[watch.job_id].discard(watch)
            if not self._watches[watch.job_id]:
                del self._watches[watch.job_id]

    def wake(self, job_id: str | None = None) -> None:
        """Tell who watches this job; everybody where None."""
        with self._lock:
            watches = [watch for each in self._watches.values() for watch in each] if job_id is None else self._watches.get(job_id, ())
            by_loop: dict[asyncio.AbstractEventLoop, list[JobWatch]] = {}
            for watch in watches:
                by_loop.setdefault(watch.loop, []).append(watch)
        for loop, told in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, told)


class JobWatch:
    """The Watch port: made and entered in the event loop that waits."""

    def __init__(self, job_id: str, waiters: Waiters) -> None:
        self.job_id, self._waiters = job_id, waiters
        self._changed, self.loop = asyncio.Event(), asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._waiters.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiters.discard(self)

    def tell(self) -> None:
        """The job changed; called in the watch's own loop."""
        self._changed.set()

    async def wait(self, seconds: float) -> bool:
        """True once the job changed since the last wait (it may be a false alarm), False when the time is up."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


def _tell(watches: Iterable[JobWatch]) -> None:
    for watch in watches:
        watch.tell()

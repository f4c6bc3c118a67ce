"""Coroutines that wait for a job to change, woken from any thread. Where the news comes from is the adapters' matter."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict


class Waiters:
    """Who waits for which job, in any number of event loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._loops: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    async def wait(self, job_id: str, *, seconds: float) -> bool:
        """True as soon as `wake` names the job, False when the time is up."""
        woken = asyncio.Event()
        with self._lock:
            self._waiting[job_id].add(woken)
            self._loops[woken] = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await woken.wait()
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiting[job_id].discard(woken)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]
                del self._loops[woken]

    def wake(self, job_id: str | None = None) -> None:
        """Wake who waits for this job; everybody where None."""
        with self._lock:
            woken = list(self._loops) if job_id is None else list(self._waiting.get(job_id, ()))
            for event in woken:
                self._loops[event].call_soon_threadsafe(event.set)

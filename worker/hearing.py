"""Whether rings reach this worker: it rings itself now and then. A worker that is connected but hears nothing has to be started again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from service.jobs.errors import Unavailable


class Deaf(Exception):
    """This worker's own rings do not reach it, though the broker took them."""


class Hearing:
    """Rings itself while a slot is idle (a busy worker need not hear), and remembers since when that has gone unheard."""

    def __init__(
        self, *, ring: Callable[[], None], idle: Callable[[], bool], limit_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ring, self._idle, self._limit, self._clock = ring, idle, limit_seconds, clock
        self._lock = threading.Lock()
        self._rung_at: float | None = None

    def heard(self) -> None:
        """A ring came through."""
        with self._lock:
            self._rung_at = None

    def check(self) -> None:
        """Ring, or see how long the last ring is out. Raises Deaf, and StoreUnavailable where the broker does not take the ring."""
        if not self._idle():
            self.heard()  # it need not hear now, and is asked again once it must
            return
        with self._lock:
            rung_at = self._rung_at
            self._rung_at = rung_at or self._clock()
        if rung_at is None:
            try:
                self._ring()
            except Unavailable:
                self.heard()  # what the broker did not take proves nothing
                raise
        elif self._clock() - rung_at > self._limit:
            raise Deaf(f"No ring has reached this worker for {self._limit:g} s, though the broker takes them.")

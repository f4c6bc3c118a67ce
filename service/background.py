"""Work that repeats beside a process's main task, each in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from service.jobs.errors import Unavailable

log = logging.getLogger("trainyard")


class Repeating:
    """Runs `work` every `seconds`, and at once when woken; wake-ups that come while it runs fold into one more run."""

    def __init__(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        self._seconds, self._work = seconds, work
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Repeating:
        """Begin, with one run at once."""
        self._thread.start()
        return self

    def wake(self) -> None:
        """Run now, not at the next turn. Never blocks."""
        self._woken.set()

    def stop(self) -> None:
        """End after the run in progress."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self._work()
            except Unavailable as error:
                log.warning("%s: %s", self._thread.name, error)  # the next turn tries again
            self._woken.wait(self._seconds)

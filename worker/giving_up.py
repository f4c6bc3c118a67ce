"""A worker that was told to end while nobody keeps the jobs any more: it waits no longer than somebody else would for it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from service.jobs.errors import Unavailable

log = logging.getLogger("trainyard")
ASKED_SECONDS = 1.0


def give_up_alone(
    draining: threading.Event,
    ask: Callable[[], object],
    *,
    is_busy: Callable[[], bool],
    seconds: float,
    end: Callable[[int], None] = os._exit,
) -> None:
    """Once it drains, `end` this process where the store has not answered `ask` for so many seconds while an attempt goes on. Runs in a thread.

    An attempt ends only with a word to the store, which may never come back. After the time of a lease others may take the job as soon as it does.
    """
    draining.wait()
    pause, answered = threading.Event(), time.monotonic()
    while time.monotonic() - answered < seconds:
        if not is_busy():
            return  # there is nothing to say to the store, and the process ends by itself
        try:
            ask()
        except Unavailable:
            pass
        else:
            answered = time.monotonic()
        pause.wait(min(ASKED_SECONDS, seconds / 4))
    log.critical("Told to end, and the store has not answered for %g s: ending. Its jobs go on from their last checkpoints.", seconds)
    end(1)

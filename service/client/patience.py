"""How long to go on with a service that does not answer, or says that it is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from service.client.errors import Unreachable

T = TypeVar("T")
TRIES = 5
LONGEST_PAUSE, LONGEST_ASKED_PAUSE = 5.0, 60.0


class Patience:
    """So many tries in a row, with longer and longer pauses, and not past a deadline (monotonic)."""

    def __init__(self, *, tries: int = TRIES, deadline: float | None = None) -> None:
        self._left, self._pause, self._deadline = tries, 0.2, deadline

    def after(self, failure: Unreachable) -> None:
        """Pause for the next try, or raise the failure where there is none."""
        self._left -= 1
        pause = max(self._pause, min(LONGEST_ASKED_PAUSE, failure.retry_after))
        if self._left == 0 or (self._deadline is not None and time.monotonic() + pause >= self._deadline):
            raise failure
        threading.Event().wait(pause)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)


def patiently(attempt: Callable[[], T], deadline: float | None = None) -> T:
    """What an attempt gives, tried again while it raises Unreachable."""
    patience = Patience(deadline=deadline)
    while True:
        try:
            return attempt()
        except Unreachable as failure:
            patience.after(failure)


def seconds_asked(asked: str) -> float:
    """The seconds that a Retry-After header asks for, as a number or as a date (RFC 9110); 0 where it cannot be read."""
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        when = parsedate_to_datetime(asked)
    except ValueError:
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())

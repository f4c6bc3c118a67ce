"""A bound on what waits between two threads, in bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable

LOOK_SECONDS = 0.5


class Room:
    """So many bytes; whoever needs more than is left waits. One alone may need more than there ever is."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._changed = threading.Condition()

    def take(self, size: int, *, given_up: Callable[[], bool]) -> bool:
        """Wait for room; False where it was given up meanwhile."""
        with self._changed:
            while self._left < min(size, self._size):
                if given_up():
                    return False
                self._changed.wait(LOOK_SECONDS)
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Of what was taken."""
        with self._changed:
            self._left += size
            self._changed.notify_all()

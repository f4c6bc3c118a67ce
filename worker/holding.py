"""What this worker has and storage has not: how many, and since when, for its beat."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Held:
    """Checkpoints and results on their way to storage, of all slots."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[Hashable, float] = {}

    def add(self, item: Hashable) -> None:
        """It waits from now on."""
        with self._lock:
            self._since[item] = time.monotonic()

    def drop(self, item: Hashable) -> None:
        """It is in storage, or nobody needs it any more."""
        with self._lock:
            self._since.pop(item, None)

    @contextmanager
    def holding(self, item: Hashable) -> Iterator[None]:
        """It waits while the block lasts."""
        self.add(item)
        try:
            yield
        finally:
            self.drop(item)

    def told(self) -> tuple[int, float]:
        """How many wait, and for how many seconds the one that waits longest."""
        with self._lock:
            return len(self._since), round(time.monotonic() - min(self._since.values()), 1) if self._since else 0.0

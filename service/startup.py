"""Waiting, a bounded while, for the parts that a process needs at its start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from service.jobs.errors import Unavailable

PATIENCE_SECONDS = 10.0


class NotReady(Exception):
    """A part did not answer at the start; the text names its variable and the cure."""


def await_parts(parts: Mapping[str, Callable[[], None]], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Try each part until it answers. Raises NotReady naming the one that does not."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    for name, attempt in parts.items():
        while True:
            try:
                attempt()
                break
            except Unavailable as error:
                if time.monotonic() > deadline:
                    raise NotReady(str(error) if error.cure else f"{error} Start it, or correct {name}.") from error
                pause.wait(0.3)

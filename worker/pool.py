"""Celery's threads, which let its event loop know at once when one of them is free again."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery.concurrency.thread import TaskPool


class WakingPool(TaskPool):  # type: ignore[misc]  # Celery ships no types
    """A pool that wakes the loop at the end of a task.

    Without prefetching (`worker_disable_prefetch`) Celery stops to listen while every thread is busy, and looks only once a second whether it
    may listen again: a job submitted just after another had ended would wait for so long.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)

    def register_with_event_loop(self, hub: Any) -> None:
        """Called for every loop, also after the broker was lost."""
        hub.add_reader(self._woken, self._heard)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **more: Any,
    ) -> Any:
        """As the pool does it, and then a wake-up: by then the request is no longer counted."""

        def ended(*results: Any, **named: Any) -> None:
            try:
                if callback is not None:
                    callback(*results, **named)
            finally:
                with suppress(BlockingIOError):  # full: the loop is woken anyway
                    os.write(self._wake, b".")

        return super().on_apply(target, args, kwargs, ended, accept_callback, **more)

    def _heard(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)

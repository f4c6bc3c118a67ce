"""The Celery shell: one task, which answers a ring. The message carries nothing."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from service.adapters.celery_doorbell import ATTEMPT_TASK


def register(app: Celery, work: Callable[[], None]) -> None:
    """Have `work` run at every ring."""

    @app.task(name=ATTEMPT_TASK)  # type: ignore[untyped-decorator]  # Celery ships no types
    def attempt() -> None:
        work()

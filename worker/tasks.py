"""The Celery shell: a task that answers a ring, and one by which a worker hears itself. The messages carry nothing."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from service.adapters.celery_doorbell import ATTEMPT_TASK, PROBE_TASK


def register(app: Celery, *, work: Callable[[], None], heard: Callable[[], None]) -> None:
    """Have `work` run at every ring, and `heard` when this worker rings itself."""

    @app.task(name=ATTEMPT_TASK)  # type: ignore[untyped-decorator]  # Celery ships no types
    def attempt() -> None:
        work()

    @app.task(name=PROBE_TASK)  # type: ignore[untyped-decorator]  # see above
    def probe() -> None:
        heard()

"""The Celery shell: a task that answers a ring, and one by which a worker hears itself. The messages carry nothing."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from celery.worker import state
from kombu.asynchronous import Hub, get_event_loop

from service.adapters.celery_doorbell import ATTEMPT_TASK, PROBE_TASK

SETTLING_SECONDS = 0.001
SETTLING_TURNS = 100
"""A task that has returned is off Celery's books within so many turns, each so long."""


def register(app: Celery, *, slots: int, work: Callable[[], None], heard: Callable[[], None]) -> None:
    """Have `work` run at every ring, and `heard` when this worker rings itself."""

    @app.task(name=ATTEMPT_TASK)  # type: ignore[untyped-decorator]  # Celery ships no types
    def attempt() -> None:
        work()
        _listen_again(slots)

    @app.task(name=PROBE_TASK)  # type: ignore[untyped-decorator]  # see above
    def probe() -> None:
        heard()
        _listen_again(slots)


def _listen_again(slots: int) -> None:
    """Have Celery wait for the next ring at once.

    With `worker_disable_prefetch` it stops listening while every slot is busy, and would notice that one is free only when its event
    loop turns next: up to a second later.
    """
    hub = get_event_loop()
    if hub is not None:
        hub.call_soon(_settle, hub, slots, SETTLING_TURNS)  # type: ignore[no-untyped-call]  # kombu types half of itself


def _settle(hub: Hub, slots: int, turns: int) -> None:
    """Runs in the event loop, which looks for messages after each turn."""
    if turns and len(state.reserved_requests) >= slots:
        hub.call_later(SETTLING_SECONDS, _settle, hub, slots, turns - 1)  # type: ignore[no-untyped-call]  # see above

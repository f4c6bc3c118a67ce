"""The pool's loop hears of the end of a task."""

from __future__ import annotations

from kombu.asynchronous import Hub

from worker.pool import WakingPool


def test_the_loop_is_woken_at_the_end_of_a_task() -> None:
    """After Celery's own callback, which counts the request out; and once it has heard, it sleeps again."""
    hub, pool, order = Hub(), WakingPool(1), list[str]()
    pool.register_with_event_loop(hub)
    ((woken, heard),) = [(fd, reader) for fd, (reader, _) in hub.readers.items() if reader == pool._heard]

    pool.on_apply(lambda: order.append("task"), (), {}, lambda _: order.append("counted out"), lambda *_: None)

    assert [fd for fd, _ in hub.poller.poll(5)] == [woken]
    assert order == ["task", "counted out"]
    heard()
    assert not hub.poller.poll(0)
    pool.on_stop()
    hub.close()

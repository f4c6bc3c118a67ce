"""Celery as a doorbell: a message wakes an idle slot and carries no job. Losing or doubling one changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from uuid import uuid4

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from service.adapters.redis_line import Lines
from service.jobs.errors import StoreUnavailable
from service.jobs.job import Device
from service.killpoints import KillPoint, passing

ATTEMPT_TASK = "trainyard.attempt"
PROBE_TASK = "trainyard.probe"
FORGOTTEN_SECONDS = 600
APART_SECONDS = 0.02
"""A worker that was killed leaves its own queue behind for so long."""


def celery_app(redis_url: str, *, visibility_seconds: float = 3600) -> Celery:
    """The Celery application both sides share; connects at the first message. Why each setting: research on Celery 5.7, ADR 2.

    A message that nobody acknowledged for `visibility_seconds` is delivered again: never one of ours, which are acknowledged at once.
    """
    app = Celery("trainyard", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        task_queues=(Queue("cpu"), Queue("gpu")),  # type: ignore[no-untyped-call]  # kombu types half of itself
        task_create_missing_queues=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": visibility_seconds,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "retry_on_timeout": True,
            "socket_connect_timeout": 2,
            "global_keyprefix": "ty-bell:",
        },
    )
    return app


class CeleryDoorbell:
    """The Doorbell port."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ring(self, device: Device, *, times: int) -> None:
        """Wake up to `times` idle slots."""
        for _ in range(times):
            _send(self._app, ATTEMPT_TASK, device)


class LoopBell:
    """Rings from an event loop, without a thread and without waiting: for one job that came alone.

    A class is rung for at most once in `apart` seconds; who asks more often, or before a connection is open, is to go to the Doorbell.
    """

    def __init__(self, app: Celery, *, seconds: float, apart: float = APART_SECONDS) -> None:
        self._lines = Lines(app.conf.broker_url, seconds=seconds)
        self._keys = {queue.name: app.conf.broker_transport_options["global_keyprefix"] + queue.name for queue in app.conf.task_queues}
        self._envelopes = {name: Envelope(ATTEMPT_TASK, name) for name in self._keys}
        self._seconds, self._apart = seconds, apart
        self._rung: dict[str, float] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def ring(self, device: Device, *, lost: Callable[[], None]) -> bool:
        """Whether a ring is on its way; `lost` is called should the broker not take it. To be called in the loop."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._rung.get(device, -self._apart) < self._apart:
            return False
        self._rung[device] = loop.time()
        passing(KillPoint.BEFORE_RING)
        sending = loop.create_task(self._send(device, lost), name="trainyard-ring")
        self._under_way.add(sending)  # the loop alone would let it go
        sending.add_done_callback(self._under_way.discard)
        return True

    async def aclose(self) -> None:
        """Let the connection go, once every ring has been taken or lost."""
        await asyncio.gather(*self._under_way)
        await self._lines.aclose()

    async def _send(self, device: Device, lost: Callable[[], None]) -> None:
        try:
            line = self._lines.now() or await self._lines.open()
            await line.ask(("LPUSH", self._keys[device], self._envelopes[device].sealed()), seconds=self._seconds)
        except (RedisError, TimeoutError):
            lost()


class Envelope:
    """Celery's own message for a task without arguments, made once: each copy gets ids of its own."""

    def __init__(self, task: str, queue: str) -> None:
        app = celery_app("memory://")
        with app.connection_for_write() as connection:
            task_id = app.send_task(task, queue=queue, connection=connection).id
            message = connection.default_channel._get(queue)  # noqa: SLF001  # where it would otherwise be consumed
        self._ids = [task_id, message["properties"]["delivery_tag"]]
        self._text = json.dumps(message)

    def sealed(self) -> str:
        """A message that was never sent before."""
        text = self._text
        for known in self._ids:
            text = text.replace(known, str(uuid4()))
        return text


class OwnBell:
    """A queue that one worker alone listens to, and rings itself to know whether it hears."""

    def __init__(self, app: Celery, worker: str) -> None:
        self._app, self.queue = app, f"own-{worker}"
        app.conf.task_queues = (*app.conf.task_queues, Queue(self.queue, expires=FORGOTTEN_SECONDS))  # type: ignore[no-untyped-call]  # see above

    def ring(self) -> None:
        """Send a probe. Raises StoreUnavailable."""
        _send(self._app, PROBE_TASK, self.queue)

    def remove(self) -> None:
        """Leave nothing of the queue behind. Raises StoreUnavailable."""
        with self._app.connection_for_write() as connection:
            try:
                bound = self._app.amqp.queues[self.queue].bind(connection.default_channel)
                bound.declare()  # a channel removes what it knows of
                bound.delete()
            except (OperationalError, *connection.connection_errors) as error:
                raise _gone(error) from error


def _send(app: Celery, task: str, queue: str) -> None:
    try:
        # no `expires`: Celery makes a time of the sender's clock of it, and a worker whose clock is ahead would hear nothing
        app.send_task(task, queue=queue, retry=False)
    except OperationalError as error:
        raise _gone(error) from error


def _gone(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"The broker does not answer (TRAINYARD_BROKER_URL, else REDIS_URL): {error}")

"""Waiting for a job to change by Redis's pub/sub: one subscription per event loop, started by the first wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.asyncio import Redis

from service.adapters.sockets import TCP_OPTIONS
from service.adapters.waiting import JobWatch, Waiters

CHANNEL = "ty:changed"
QUIET_SECONDS = 10.0
RECONNECT_SECONDS = 0.5
log = logging.getLogger(__name__)


class RedisChanges:
    """The Changes port. Every (re)subscription wakes everybody: what changed before it might have been missed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiters = Waiters()
        self._listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    def watch(self, job_id: str) -> JobWatch:
        """A watch on one job; the first in an event loop starts its subscription."""
        loop = asyncio.get_running_loop()
        listener = self._listeners.get(loop)
        if listener is None or listener.done():
            self._listeners[loop] = loop.create_task(self._listen(), name="trainyard-changes")
        return JobWatch(job_id, self._waiters)

    async def aclose(self) -> None:
        """End this loop's subscription."""
        listener = self._listeners.pop(asyncio.get_running_loop(), None)
        if listener is not None:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener

    async def _listen(self) -> None:
        while True:
            try:
                await self._relay()
            except redis.RedisError as error:
                log.warning("lost the subscription to job changes, trying again: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)  # a pause between connection attempts, not a wait for an event

    async def _relay(self) -> None:
        # A subscription reads for as long as nothing happens: no socket_timeout; a ping finds out a peer that is gone.
        patience: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": 5}
        alive: dict[str, Any] = {"socket_keepalive": True, "socket_keepalive_options": TCP_OPTIONS}
        async with Redis.from_url(self._url, **patience, **alive) as client, client.pubsub() as subscription:
            await subscription.subscribe(CHANNEL)
            pinged = False
            while True:
                message = await subscription.get_message(timeout=QUIET_SECONDS)
                if message is None and pinged:
                    raise redis.TimeoutError("no answer to a ping")
                pinged = message is None
                if message is None:
                    await subscription.ping()
                elif message["type"] == "subscribe":
                    self._waiters.wake()
                elif message["type"] == "message":
                    self._waiters.wake(message["data"].decode())

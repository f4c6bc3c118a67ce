"""A connection to Redis for an event loop: questions leave without waiting for the answers to earlier ones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as Hanging

from service.adapters.sockets import TCP_OPTIONS
from service.jobs.errors import StoreUnavailable

QUIET_SECONDS = 25.0
"""A connection that was not used for so long may be dead without anybody having said so: a new one is opened."""

LOOK_SECONDS = 0.1
"""How long it may take to read an answer that has come already."""


class Lines:
    """One open line at a time, of one event loop. Nothing connects before the first `open`."""

    def __init__(self, url: str, *, seconds: float) -> None:
        self._pool = ConnectionPool.from_url(
            url, socket_timeout=None, socket_connect_timeout=seconds, socket_keepalive=True, socket_keepalive_options=TCP_OPTIONS
        )
        self._seconds = seconds
        self._line: Line | None = None
        self._opening = asyncio.Lock()

    def now(self) -> Line | None:
        """The line, where one is open that can be used here."""
        return self._line if self._line is not None and self._line.usable else None

    async def open(self) -> Line:
        """The line. Raises RedisError, TimeoutError."""
        async with asyncio.timeout(self._seconds), self._opening:
            if (line := self.now()) is not None:
                return line
            await self.drop()
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis types half of itself
            await connection.connect()
            self._line = Line(connection)
            return self._line

    async def ask(self, command: Sequence[str | bytes | float]) -> Any:
        """The answer. Raises RedisError where there is no connection, it breaks, or Redis refuses; StoreUnavailable where nothing comes in time."""
        try:
            line = self.now() or await self.open()
        except (TimeoutError, Hanging) as error:  # an event loop that is busy takes as long as a Redis that hangs: a thread will tell
            raise ConnectionLost("no connection was made in time") from error
        try:
            return await line.ask(command, seconds=self._seconds)
        except (TimeoutError, Hanging) as error:
            await self.drop()
            raise StoreUnavailable(f"Redis does not answer within {self._seconds:g} s.") from error

    async def drop(self) -> None:
        """Let the connection go at once: it hangs, or is of no use any more."""
        line, self._line = self._line, None
        if line is not None:
            await line.drop()

    async def aclose(self) -> None:
        """Let the connection go, with the goodbye that TLS has: an event loop that ended before it would leave the socket behind."""
        line, self._line = self._line, None
        if line is not None:
            await line.aclose()


class Line:
    """A connection whose answers come in the order of the questions. Questions of one turn of the event loop leave together."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._used = self._loop.time()
        self._tasks = [self._loop.create_task(work(), name="trainyard-intake") for work in (self._read, self._send)]

    @property
    def usable(self) -> bool:
        """Whether it is this loop's, unbroken, and was used of late."""
        broken = any(task.done() for task in self._tasks)
        return not broken and self._loop is asyncio.get_running_loop() and self._loop.time() - self._used < QUIET_SECONDS

    async def ask(self, command: Sequence[str | bytes | float], *, seconds: float) -> Any:
        """The answer. Raises RedisError where the connection breaks meanwhile, TimeoutError where nothing happens for so long."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._used = self._loop.time()
        self._unsent.append(_packed(command))
        self._waiting.append(answer)
        self._asked.set()
        patience = self._loop.call_later(seconds, self._look_once_more, answer)
        try:
            return await answer
        finally:
            patience.cancel()

    def _look_once_more(self, answer: asyncio.Future[Any]) -> None:
        """An event loop that was busy for so long has not looked yet whether the answer is there: it does so, and reads it, before this one gives up."""
        if not answer.done():
            self._loop.call_later(LOOK_SECONDS, self._loop.call_soon, _give_up, answer)

    async def drop(self) -> None:
        """Whoever still waits hears that the connection is lost."""
        await self._end(nowait=True)

    async def aclose(self) -> None:
        """The same, and the connection is closed when this returns, unless the other side hangs."""
        with suppress(Hanging):
            await self._end(nowait=self._loop is not asyncio.get_running_loop())

    async def _end(self, *, nowait: bool) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail(ConnectionLost("the connection was given up"))
        await self._connection.disconnect(nowait=nowait)

    async def _send(self) -> None:
        try:
            while await self._asked.wait():
                self._asked.clear()
                unsent, self._unsent = self._unsent, []
                await self._connection.send_packed_command(unsent, check_health=False)
        except RedisError as error:
            self._fail(error)

    async def _read(self) -> None:
        try:
            while True:
                self._settle(await self._connection.read_response(disconnect_on_error=False))
        except RedisError as error:
            self._fail(error)

    def _settle(self, answer: Any) -> None:
        asked = self._waiting.popleft()
        if not asked.done():  # else whoever asked has gone away
            asked.set_result(answer)

    def _fail(self, error: RedisError) -> None:
        while self._waiting:
            asked = self._waiting.popleft()
            if not asked.done():
                asked.set_exception(error)


def _packed(command: Sequence[str | bytes | float]) -> bytes:
    """The command as it goes over the wire. The client's own packing, which asks after many types, takes four times as long."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def _give_up(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())

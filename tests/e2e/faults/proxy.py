"""A TCP proxy that harms what passes through it, as networks and dying servers do. Which harm is switched while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from service.local import free_port

CHUNK = 1 << 20
HEAD_END = b"\r\n\r\n"
INTERIM = b"HTTP/1.1 100"


@dataclass(frozen=True)
class Pass:
    """No harm."""


@dataclass(frozen=True)
class Delay:
    """Every reply comes so much later."""

    seconds: float


@dataclass(frozen=True)
class Freeze:
    """Nothing moves on any connection, old or new, until the mode changes; then it moves on, however late, as TCP would."""


@dataclass(frozen=True)
class Refuse:
    """Nobody listens; open connections stay."""


@dataclass(frozen=True, kw_only=True)
class Harm:
    """Harm to the requests in whose first bytes `request` is found: a share of them, and no more than `times`."""

    request: str = ""
    share: float = 1.0
    times: int | None = None


@dataclass(frozen=True, kw_only=True)
class LoseReply(Harm):
    """The server applies the request; before a byte of its reply is sent the connection is reset."""


@dataclass(frozen=True, kw_only=True)
class CutReply(Harm):
    """The connection is reset after so many bytes of the reply."""

    after: int


@dataclass(frozen=True, kw_only=True)
class Answer(Harm):
    """The server never sees the request; the proxy answers with this status. HTTP only."""

    status: int


Mode = Pass | Delay | Freeze | Refuse | LoseReply | CutReply | Answer


@dataclass
class _Link:
    """One connection and its other half."""

    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    doomed: LoseReply | CutReply | None = None
    sent: int = 0
    """Bytes of the reply to the last request."""

    @property
    def kept(self) -> int:
        """How many bytes of the doomed reply are delivered."""
        return self.doomed.after if isinstance(self.doomed, CutReply) else 0


@dataclass
class FaultProxy:
    """Stands on `port` before a server on `target`, both on loopback. Use it as a context; its switches work from any thread."""

    target: int
    http: bool = False
    seed: int = 0
    port: int = field(default_factory=free_port)
    hits: int = 0
    """How many requests were harmed since the mode was set."""

    def __enter__(self) -> Self:
        self._mode: Mode = Pass()
        self._chance = random.Random(self.seed)
        self._struck = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, mode: Mode) -> None:
        """From now on, for open connections too."""
        self._call(self._switch(mode))

    def cut(self) -> None:
        """Reset every open connection."""
        self._call(self._cut())

    def until_hit(self, times: int = 1, *, seconds: float = 30) -> None:
        """Return once so many requests were harmed."""
        with self._struck:
            assert self._struck.wait_for(lambda: self.hits >= times, seconds), f"{self._mode} harmed {self.hits} requests"

    # --- in the proxy's own thread

    def _call(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _open(self) -> None:
        self._ends: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._moving = asyncio.Event()
        self._moving.set()
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, limit=CHUNK)

    async def _stop_listening(self) -> None:
        for sock in self._server.sockets:
            self._loop.remove_reader(sock.fileno())
        await asyncio.sleep(0)  # asyncio loses a connection that it is about to take when its server is closed
        self._server.close()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._ends[task] = [writer]
        task.add_done_callback(self._ends.pop)

    async def _close(self) -> None:
        await self._stop_listening()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:  # asyncio's own, which accept, are among them
            await self._cut()
            await asyncio.wait(others)
        await asyncio.sleep(0)  # and the sockets close

    async def _cut(self) -> None:
        for task, ends in self._ends.items():
            _reset(ends)
            task.cancel()

    async def _switch(self, mode: Mode) -> None:
        with self._struck:
            self._mode, self.hits = mode, 0
        self._moving.clear() if isinstance(mode, Freeze) else self._moving.set()
        if isinstance(mode, Refuse):
            await self._stop_listening()
        elif not self._server.is_serving():
            await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = self._ends[asyncio.current_task()]
        try:
            await self._moving.wait()
            server = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
            ends.append(server[1])
            await self._relay(_Link((reader, writer), server))
        except OSError:
            _reset(ends)  # the server is gone, or a peer is
        finally:
            for end in ends:
                end.close()

    async def _relay(self, link: _Link) -> None:
        """Both directions, until one ends; what was sent by then has been delivered."""
        for writer in (link.client[1], link.server[1]):
            writer.transport.set_write_buffer_limits(0)  # drain then waits until all is with the kernel
        ways = [asyncio.create_task(way) for way in (self._http_requests(link) if self.http else self._requests(link), self._replies(link))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self, link: _Link) -> None:
        while data := await link.client[0].read(CHUNK):
            self._choose(link, data)
            await self._send(link.server[1], data)

    async def _http_requests(self, link: _Link) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await link.client[0].readuntil(HEAD_END)
                found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
                left = int(found[1]) if found else 0
                harm = self._choose(link, head.partition(b"\r\n")[0])
                if isinstance(harm, Answer):
                    return await self._answer(link, harm, 0 if b"100-continue" in head.lower() else left)
                await self._send(link.server[1], head)
                while left and (data := await link.client[0].read(min(left, CHUNK))):
                    left -= len(data)
                    await self._send(link.server[1], data)

    async def _answer(self, link: _Link, harm: Answer, unread: int) -> None:
        await link.client[0].readexactly(unread)  # a client that still sends would see a reset, not the answer
        self._hit()
        head = f"HTTP/1.1 {harm.status} Harmed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        await self._send(link.client[1], head.encode())

    async def _replies(self, link: _Link) -> None:
        while data := await link.server[0].read(CHUNK):
            if isinstance(self._mode, Delay):
                await asyncio.sleep(self._mode.seconds)
            interim = self.http and data.startswith(INTERIM) and data.endswith(HEAD_END)
            kept = len(data) + 1 if link.doomed is None or interim else max(0, link.kept - link.sent)
            link.sent += 0 if interim else len(data)
            await self._send(link.client[1], data[:kept])
            if len(data) >= kept:
                self._hit()
                _reset((link.client[1], link.server[1]))
                break

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        await self._moving.wait()
        writer.write(data)
        await writer.drain()

    def _choose(self, link: _Link, first: bytes) -> Harm | None:
        """Whether the present mode harms this request; its reply is marked, where that is what is harmed."""
        mode = self._mode
        harmed = (
            isinstance(mode, Harm)
            and (mode.times is None or self.hits < mode.times)
            and re.search(mode.request.encode(), first) is not None
            and self._chance.random() < mode.share
        )
        link.doomed, link.sent = (mode if harmed and isinstance(mode, LoseReply | CutReply) else None), 0
        return mode if harmed and isinstance(mode, Harm) else None

    def _hit(self) -> None:
        with self._struck:
            self.hits += 1
            self._struck.notify_all()


def _reset(ends: Iterable[asyncio.StreamWriter]) -> None:
    """An RST, not a polite end."""
    for end in ends:
        sock: socket.socket = end.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.transport.abort()

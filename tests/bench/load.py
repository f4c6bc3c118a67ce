"""Requests as fast as they are answered, over a few connections that stay open; written on bare sockets, to take little of the machine."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


class Unanswered(Exception):
    """A request got no answer, or another status than expected."""


@dataclass(frozen=True)
class Taken:
    """How long so many requests took, in seconds: by the clock, and of the server's processor."""

    requests: int
    wall: float
    processor: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.wall


def post(port: int, path: str, bodies: Iterable[bytes], *, pid: int, status: int = 202, connections: int = 4) -> Taken:
    """Send each body once, `connections` at a time. `pid` is the server's. Raises Unanswered."""
    waiting = iter(bodies)
    lines = [_Line(port, path, status) for _ in range(connections)]
    before, started, answered = processor_seconds(pid), time.perf_counter(), 0
    with selectors.DefaultSelector() as ready:
        open_lines = [line for line in lines if line.send_next(waiting)]
        for line in open_lines:
            ready.register(line.socket, selectors.EVENT_READ, line)
        busy = len(open_lines)
        while busy:
            for key, _ in ready.select(timeout=30) or _nobody():
                line: _Line = key.data
                if line.answered():
                    answered += 1
                    if not line.send_next(waiting):
                        ready.unregister(line.socket)
                        busy -= 1
    wall = time.perf_counter() - started
    for line in lines:
        line.socket.close()
    return Taken(answered, wall, processor_seconds(pid) - before)


def processor_seconds(pid: int) -> float:
    """What all threads of a process have had of the processors since they began."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def _nobody() -> list[tuple[selectors.SelectorKey, int]]:
    raise Unanswered("no answer within 30 s")


class _Line:
    """One connection, and what has come back on it."""

    def __init__(self, port: int, path: str, status: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: ".encode()
        self._wanted = f"HTTP/1.1 {status} ".encode()
        self._seen = bytearray()

    def send_next(self, bodies: Iterator[bytes]) -> bool:
        """False where no body is left."""
        body = next(bodies, None)
        if body is not None:
            self.socket.sendall(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
        return body is not None

    def answered(self) -> bool:
        """True once the answer is whole."""
        data = self.socket.recv(262_144)
        if not data:
            raise Unanswered("the server hung up")
        self._seen += data
        head, end, rest = bytes(self._seen).partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(self._wanted):
            raise Unanswered(bytes(self._seen[:2000]).decode(errors="replace"))
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(rest) < length:
            return False
        self._seen.clear()
        return True

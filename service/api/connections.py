"""Connections to the API: uvicorn's protocol on h11, with an end for peers that say nothing, or take nothing, for too long."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.api.problems import SAFE_HEADERS, Problem

HEAD_SECONDS = 20.0
"""Until the head of a request is whole, from the connection's begin or the last answer on."""
DEAF_SECONDS = 60
"""How long a peer may take nothing of what it is sent, or acknowledge nothing: then it is gone."""
RESERVED_FILES = 512
"""Open files that are kept for everything but connections: stores, children, uploads."""


class Joined:
    """A transport by which two writes of one turn of the event loop leave as one: a head with its body, in one call of the kernel, one packet.

    No more than one write is held, so that the transport's own bound on what waits stays one.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Now, with what was held; else at the end of this turn."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """After all that was written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more will be taken."""
        return self._transport.is_closing()

    def resume_reading(self) -> None:
        """Once there is room again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str) -> Any:
        """The transport's."""
        return self._transport.get_extra_info(name)

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)


class Connection(H11Protocol):
    """One connection. A request's body and a handler's time are the application's own matter (`incoming`)."""

    head_seconds = HEAD_SECONDS
    deaf_seconds = DEAF_SECONDS
    most: int | None = None
    """Connections at a time; a further one is answered with 503 and closed."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it, too
        """Somebody came."""
        super().connection_made(transport)
        self.transport = Joined(transport, self.loop)  # type: ignore[assignment]  # it is one for all that is done with it here
        self._find_out_the_gone(transport.get_extra_info("socket"))
        if self.most is not None and len(self.connections) > self.most:
            self._refuse(503, "The service has as many connections as it can hold.", {"Retry-After": "5"})
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever brought it about."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """What came, parsed; once a request is under way its head is no longer waited for."""
        super().handle_events()
        if self._is_busy():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """An answer is out: the next request has its own time. It may have been sent already."""
        self._await_head()
        super().on_response_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: whoever asks for another protocol is answered in this one (RFC 9110, section 7.8)."""

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or too much of it. uvicorn calls it where h11 raised."""
        raised = sys.exception()
        status = raised.error_status_hint if isinstance(raised, h11.RemoteProtocolError) else 400
        self._refuse(status, msg)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, f"The head of a request did not come within {self.head_seconds:g} s.")

    def _refuse(self, status: int, detail: str, more: dict[str, str] | None = None) -> None:
        """An answer outside of the application, and the end of the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            phrase = HTTPStatus(status).phrase
            slug = phrase.lower().replace(" ", "-")
            told = Problem(type=f"/problems/{slug}", title=phrase, status=status, detail=detail, instance="")
            body = json.dumps(told.model_dump(mode="json")).encode()
            headers = {**SAFE_HEADERS, **(more or {}), "Content-Type": "application/problem+json", "Content-Length": str(len(body))}
            answer = h11.Response(status_code=status, headers=[*headers.items(), ("Connection", "close")], reason=phrase.encode())
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _find_out_the_gone(self, line: Any) -> None:
        """Linux ends a connection whose peer acknowledges nothing, or leaves no room, for so long (tcp(7))."""
        if line is not None and line.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_USER_TIMEOUT"):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * self.deaf_seconds))

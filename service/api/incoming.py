"""Bodies of requests as they come in: not slower than a floor, and not more of them in memory than there is room for."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.lingering import has_body
from service.api.problems import Refused

IDLE_SECONDS = 30.0
"""The longest pause inside a body."""
GRACE_SECONDS = 20.0
FLOOR = 500
"""Bytes a second, once the grace is used up: what a client makes the service wait is counted, not the time that the service takes."""
MEMORY_BYTES = 256 * 2**20
"""Of bodies of requests that are under way. Uploads of data sets lie on disk, and do not count."""


class Incoming:
    """Ends requests whose body comes too slowly with 408, and answers 503 while bodies fill the memory that they may have."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        idle_seconds: float = IDLE_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        floor: float = FLOOR,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._app = app
        self._idle_seconds, self._grace_seconds, self._floor = idle_seconds, grace_seconds, floor
        self._room = memory_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, as ASGI has it."""
        if scope["type"] != "http" or not has_body(scope):
            await self._app(scope, receive, send)
            return
        waited, size, held, comes = 0.0, 0, 0, True
        in_memory = scope["method"] != "PUT"

        async def receiving() -> Message:
            nonlocal waited, size, held, comes
            if not comes:
                return await receive()  # only the end of the connection may still come
            patience = min(self._idle_seconds, self._grace_seconds + size / self._floor - waited)
            started = time.monotonic()
            try:
                async with asyncio.timeout(patience):
                    message = await receive()
            except TimeoutError as error:
                raise _too_slow(size, self._floor) from error
            waited += time.monotonic() - started
            comes = bool(message.get("more_body"))
            got = len(message.get("body", b""))
            size += got
            if in_memory:
                if got > self._room:
                    raise Refused(
                        503, "busy", "The requests under way take all the memory that they may have.", headers={"Retry-After": "2"}
                    )
                held += got
                self._room -= got
            return message

        try:
            await self._app(scope, receiving, send)
        finally:
            self._room += held


def _too_slow(size: int, floor: float) -> Refused:
    detail = (
        f"The request's body came too slowly: {size:,} bytes, then nothing. Send at least {floor:g} bytes a second, without long pauses."
    )
    return Refused(408, "request-timeout", detail, headers={"Connection": "close"})

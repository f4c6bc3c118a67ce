"""Refusals that leave before the request's body has come whole: they are read, whatever the sender does meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_BYTES = 64 * 2**20
LINGER_SECONDS = 30.0
"""How much of a refused body is still taken, and for how long. What comes later finds the connection closed."""


SLOW = 408
"""Who was told so is not waited for any longer."""


class Lingering:
    """A refusal in mid-body is sent at once and whole, and the body read on for a while before the connection is closed.

    A server that closes while it is still sent to resets the connection, and many clients then lose the answer
    (RFC 9112, section 9.6). One that keeps the connection has to take all that was announced, however much that is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, as ASGI has it."""
        if scope["type"] != "http" or not has_body(scope):
            await self._app(scope, receive, send)
            return
        comes, refused = True, False

        async def receiving() -> Message:
            nonlocal comes
            message = await receive()
            comes = bool(message.get("more_body"))
            return message

        async def sending(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and comes and message["status"] >= 400:
                refused = message["status"] != SLOW
                headers = [pair for pair in message["headers"] if pair[0] != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            elif refused and not message.get("more_body"):
                await send({**message, "more_body": True})  # by its Content-Length the client has all of it now
                await _read_on(receive)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receiving, sending)


def has_body(scope: Scope) -> bool:
    """Whether a request that may have a body has one."""
    return scope["method"] in ("POST", "PUT") and any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in scope["headers"]
    )


async def _read_on(receive: Receive) -> None:
    """Take what still comes, and drop it."""
    taken = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while taken < LINGER_BYTES:
                message = await receive()
                if not message.get("more_body"):
                    return
                taken += len(message["body"])

"""What every request is looked at for before a route sees it, and every answer told: whose host, which site, nothing to be run."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import SAFE_HEADERS, Refused, problem

READING = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_HEADERS = 100
HEAD_BYTES = 32 * 1024
"""Of a request's line and headers together."""
LOCAL = frozenset({"localhost"})
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]{1,253})(:[0-9]{1,5})?")

# Of an answer that is no page: should a browser show one after all, it runs and loads nothing.
INERT = "default-src 'none'; frame-ancestors 'none'; sandbox"
ADDED = [
    (name.lower().encode(), value.encode())
    for name, value in {**SAFE_HEADERS, "Content-Security-Policy": INERT, "Cache-Control": "private, no-cache"}.items()
]


class Guarding:
    """Refuses by Host and Origin, and has every answer carry the headers that keep browsers from misusing it, and those of its rate.

    `hosts` are the names that the service goes by; None allows any. Addresses and localhost are always allowed: a page of another site can
    have its own name point here (DNS rebinding), but not an address.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] | None = None) -> None:
        self._app = app
        self._named = frozenset(host.lower() for host in hosts or ())
        self._any = hosts is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = [*message["headers"], *scope.get("state", {}).get("rated", ())]
                names = {name for name, _ in told}
                message = {**message, "headers": told + [pair for pair in ADDED if pair[0] not in names]}
            await send(message)

        try:
            self._look_at(scope)
        except Refused as error:
            # the answer names the path, which is read from an address that a bad Host would spoil
            request = Request({**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"host"]})
            answer = problem(request, error.status, error.slug, error.detail, headers=error.headers)
            await answer(scope, receive, sending)
            return
        await self._app(scope, receive, sending)

    def _look_at(self, scope: Scope) -> None:
        """Raises Refused."""
        headers = Headers(scope=scope)
        if len(scope["headers"]) > MOST_HEADERS:
            raise Refused(431, "too-many-headers", f"A request may have {MOST_HEADERS} headers.")
        if (
            len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in scope["headers"])
            > HEAD_BYTES
        ):
            raise Refused(431, "too-large", f"A request's line and headers may have {HEAD_BYTES:,} bytes.")
        host = headers.get("host")
        self._check_host(host)
        if scope["method"] in READING:
            return
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(origin, host):
            raise Refused(403, "forbidden", "Another site may not ask this in your name. TRAINYARD_HOSTS names the hosts of this service.")

    def _check_host(self, host: str | None) -> None:
        """Raises Refused. HTTP/1.0 may leave the header out, and no browser speaks that."""
        if host is None:
            return
        match = _HOST.fullmatch(host)
        if match is None:
            raise Refused(400, "bad-request", "The header Host is no host.", headers={"Connection": "close"})
        name = match["name"].lower()
        if not (self._any or name in LOCAL or name in self._named or _is_address(name)):
            detail = f"This service does not go by the name {name}. Have TRAINYARD_HOSTS name it, where it should."
            raise Refused(421, "misdirected-request", detail)

    def _is_ours(self, origin: str, host: str | None) -> bool:
        """Whether a page may have been sent by this service: from the host and port that are asked, or under one of its names."""
        try:
            of = urlsplit(origin)
        except ValueError:
            return False
        return bool(of.netloc) and (of.netloc.lower() == (host or "").lower() or (of.hostname or "") in self._named)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True

"""What each request was: an id that its answer and its log lines carry, figures for monitors, a line for the log."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from random import getrandbits
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import ACCESS, about

REQUEST_ID = "X-Request-Id"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
UNHEARD = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: no line of the log for those."""
NOWHERE = "(none)"
GONE = 499
"""The status that nobody got: the client had hung up."""
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger(ACCESS)
M = TypeVar("M", Counter, Histogram)


class Requests:
    """What one process counts of its requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "trainyard_http_requests", "Requests by route and status.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "trainyard_http_request_seconds",
            "Until the last byte of an answer, without those that were asked to wait.",
            ["method", "route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._labelled: dict[tuple[Any, tuple[str | int, ...]], Any] = {}
        self.streams = Gauge("trainyard_event_streams", "Open streams of events.", registry=registry)

    def note(self, method: str, route: str, status: int, seconds: float, *, waits: bool) -> None:
        """One answer."""
        self._of(self._answered, method, route, status).inc()
        if not waits:
            self._of(self._seconds, method, route).observe(seconds)

    def _of(self, metric: M, *labels: str | int) -> M:
        """The one with these labels: the library takes longer to find it than to count."""
        found: M | None = self._labelled.get((metric, labels))
        if found is None:
            found = self._labelled[metric, labels] = metric.labels(*labels)
        return found


class Observing:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, *, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status, streams, begin = 0, False, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status, streams = message["status"], _is_stream(message)
                message = {**message, "headers": [*message["headers"], (REQUEST_ID.lower().encode(), request_id.encode())]}
                if streams:
                    self._requests.streams.inc()
            await send(message)

        with about(request_id=request_id):
            try:
                await self._app(scope, receive, sending)
            except asyncio.CancelledError:
                status = GONE
                raise
            except Exception:
                status = 500  # answered further out
                raise
            finally:
                if streams:
                    self._requests.streams.dec()
                self._tell(scope, status or GONE, time.perf_counter() - begin, waits=streams or b"wait=" in scope["query_string"])

    def _tell(self, scope: Scope, status: int, seconds: float, *, waits: bool) -> None:
        method, route = scope["method"] if scope["method"] in METHODS else "OTHER", _route_of(scope)
        self._requests.note(method, route, status, seconds, waits=waits)
        if route in UNHEARD or not log.isEnabledFor(logging.INFO):
            return
        facts = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        if project := scope["state"].get("project"):
            facts["project"] = project
        log.info("%s %s %d", method, route, status, extra={"facts": facts})


def _id_of(scope: Scope) -> str:
    """The client's own, where it is one; else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if given and _ID.fullmatch(given) else f"{getrandbits(128):032x}"  # a name, not a secret


def _route_of(scope: Scope) -> str:
    """The template of the route, never the path: there are as many paths as jobs."""
    return getattr(scope.get("route"), "path", None) or NOWHERE


def _is_stream(start: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in start["headers"])

"""Room for answers that wait: event streams and long polls hold a connection each, so there are only so many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.api.problems import Refused, problem

MOST = 10_000
MOST_OF_ONE = 1_000
COME_AGAIN = {"Retry-After": "30"}


class Places:
    """Who waits, by address. Used in one event loop only."""

    def __init__(self, *, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._taken: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """A place for as long as the body runs. Raises Refused."""
        if self._all >= self._most:
            raise Refused(503, "busy", f"{self._most:,} requests wait for changes, which is all that may.", headers=COME_AGAIN)
        if self._taken[client] >= self._most_of_one:
            detail = f"{self._most_of_one:,} requests from {client} wait for changes, which is all that may from one address."
            raise Refused(503, "busy", detail, headers=COME_AGAIN)
        self._all += 1
        self._taken[client] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]


def client_of(request: Request) -> str:
    """The address that asks."""
    return request.client.host if request.client else ""


class EventStream(StreamingResponse):
    """Server-sent events, for who finds a place."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[str], *, places: Places, headers: Mapping[str, str]) -> None:
        super().__init__(content, headers=headers)
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer itself; a place is taken when it begins, so that one which never does takes none."""
        request = Request(scope)
        try:
            with self._places.place(client_of(request)):
                await super().__call__(scope, receive, send)
        except Refused as error:
            answer = problem(request, error.status, error.slug, error.detail, headers=error.headers)
            await answer(scope, receive, send)

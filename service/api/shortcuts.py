"""Reads that are asked all the time, on a short way: one look at the address, one question to the store, an answer from memory.

Each stands for a route that has the same address and says all about it. What a shortcut does not understand whole it leaves to that route.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

from fastapi import Request, Response
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Receive, Scope, Send

from service.api.auth import reading
from service.api.compressing import takes_gzip
from service.api.parts import LARGEST, LONGEST_NAME, LONGEST_PATH
from service.use_cases import Services

Chosen = Mapping[str, Any]
"""What an address says: its parts as text, numbers of its query."""
Answer = Callable[[Request, Chosen], Awaitable[Response]]
UP = (0, LARGEST)
_NUMBERS = re.compile(r"[a-z_]+=[0-9]{1,16}(?:&[a-z_]+=[0-9]{1,16})*")


@dataclass(frozen=True)
class Shortcut:
    """The way to one route's usual answer. `path` is the route's; `numbers` are what its query may say, with their bounds.

    What any of the headers `but_for` names is left to the route; of Accept, what asks for such a type.
    """

    path: str
    answer: Answer
    numbers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    but_for: frozenset[bytes] = frozenset()
    but_as: bytes | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path's."""
        return compile_path(self.path)[0]

    def chosen(self, scope: Scope) -> Chosen | None:
        """What the address says; None where that, or a header, is for the route to look at."""
        found = self.pattern.match(scope["path"])
        if found is None:
            return None
        parts: dict[str, Any] = found.groupdict()
        if any(len(part) > (LONGEST_PATH if name == "path" else LONGEST_NAME) for name, part in parts.items()):
            return None
        numbers = self._numbers(scope["query_string"])
        if numbers is None:
            return None
        for name, value in scope["headers"]:
            if name in self.but_for or (self.but_as is not None and name == b"accept" and self.but_as in value):
                return None
        return parts | numbers

    def _numbers(self, query: bytes) -> dict[str, int] | None:
        if not query:
            return {}
        if not self.numbers or not _NUMBERS.fullmatch(text := query.decode("latin-1")):
            return None
        pairs = [each.partition("=") for each in text.split("&")]
        told = {name: int(value) for name, _, value in pairs}
        if len(told) < len(pairs) or not told.keys() <= self.numbers.keys():
            return None
        return told if all(self.numbers[name][0] <= value <= self.numbers[name][1] for name, value in told.items()) else None


class Shortcuts(BaseRoute):
    """All of them, as one route that stands before the others."""

    def __init__(self, *ways: Shortcut) -> None:
        self.ways = ways

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether one leads there."""
        if scope["type"] == "http" and scope["method"] == "GET":
            for way in self.ways:
                chosen = way.chosen(scope)
                if chosen is not None:
                    parts = {name: value for name, value in chosen.items() if isinstance(value, str)}
                    return Match.FULL, {"route": way, "endpoint": way.answer, "path_params": parts, "trainyard.chosen": chosen}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer."""
        request, way = Request(scope, receive, send), scope["route"]
        answer = await way.answer(request, scope["trainyard.chosen"])
        await answer(scope, receive, send)


class Asked(NamedTuple):
    """A read by somebody who may: what a shortcut's route is called with."""

    request: Request
    project: str
    services: Services
    chosen: Chosen


async def asked(request: Request, chosen: Chosen) -> Asked:
    """Raises Refused."""
    return Asked(request, (await reading(request)).project, request.app.state.services, chosen)


def about_a_job(make: Callable[[Asked], Response], *, while_same: Callable[[Services], Hashable] = lambda _: None) -> Answer:
    """The way to an answer that tells nothing but what the stamp of its `job_id` stands for, and is the same to everybody in the project.

    What else it goes by is `while_same`.
    """

    async def answer(request: Request, chosen: Chosen) -> Response:
        who = await asked(request, chosen)
        state = request.app.state
        stamp = await state.stamps.of(who.project, chosen["job_id"])
        of = (
            request.scope["route"].path,
            who.project,
            takes_gzip(request),
            request.headers.get("range"),
            while_same(who.services),
            *chosen.items(),
        )
        found: Response = await state.remembered.answer(of, stamp.text, partial(make, who))
        return found

    return answer

"""The short way of reads: what an address has to say for it, and when an answer that was given already is given again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import StreamingResponse
from fastapi.routing import iter_route_contexts
from starlette.routing import Match

from service.api.remembered import LARGEST, OVERHEAD, Remembered
from service.api.shortcuts import UP, Chosen, Request, Shortcut, Shortcuts
from tests.doors import whole_app


async def nothing(_: Request, __: Chosen) -> Response:
    return Response()


EVENTS = Shortcut("/jobs/{job_id}/events", nothing, numbers={"after": UP, "limit": (1, 9)}, but_as=b"text/event-stream")
FILE = Shortcut("/jobs/{job_id}/files/{path:path}", nothing, but_for=frozenset({b"if-none-match"}))


def scope(path: str, query: str = "", method: str = "GET", **headers: str) -> dict[str, Any]:
    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": told}


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (scope("/jobs/a/events"), {"job_id": "a"}),
        (scope("/jobs/a/events", "limit=9&after=007"), {"job_id": "a", "limit": 9, "after": 7}),
        (scope("/jobs/a/events", accept="application/json, */*"), {"job_id": "a"}),
        (scope("/jobs/a/events", accept="text/event-stream"), None),
        *((scope("/jobs/a/events", query), None) for query in ("limit=0", "limit=10", "limit=1&limit=2", "limit=", "limit=-1", "limit=%31", "a=1")),
        (scope("/jobs/a/events", f"after={2**53 + 1}"), None),
        (scope("/jobs/a/events/"), None),
        (scope("/jobs//events"), None),
        (scope(f"/jobs/{'a' * 101}/events"), None),
    ],
    ids=str,
)  # fmt: skip
def test_only_what_is_understood_whole_takes_the_short_way(asked: dict[str, Any], chosen: Chosen | None) -> None:
    """The rest is for the route: it knows what is wrong, or what else may be asked."""
    assert EVENTS.chosen(asked) == chosen


def test_a_header_that_is_for_the_route_leads_there():
    assert FILE.chosen(scope("/jobs/a/files/b/c.txt")) == {"job_id": "a", "path": "b/c.txt"}
    assert FILE.chosen(scope("/jobs/a/files/b/c.txt", if_none_match='"x"')) is None
    assert FILE.chosen(scope(f"/jobs/a/files/{'b' * 1001}")) is None


def test_what_is_no_get_is_for_the_routes():
    ways = Shortcuts(EVENTS, FILE)

    found = {method: ways.matches(scope("/jobs/a/events", method=method))[0] for method in ("GET", "HEAD", "POST")}

    assert found == {"GET": Match.FULL, "HEAD": Match.NONE, "POST": Match.NONE}


def test_every_shortcut_has_the_address_of_a_route_that_says_all_about_it():
    app = whole_app()
    routes = {route.path for route in iter_route_contexts(app.routes)}

    shortcuts = {way.path for each in app.routes if isinstance(each, Shortcuts) for way in each.ways}

    assert len(shortcuts) > 8
    assert shortcuts <= routes


def asked(remembered: Remembered, *questions: tuple[str, str, Callable[[], Response]]) -> list[Any]:
    """What all of them are answered, asked one after the other."""

    async def ask() -> list[Any]:
        return [await remembered.answer(*question) for question in questions]

    return asyncio.run(ask())


def counting(bodies: Iterable[str]) -> Callable[[], Response]:
    waiting = iter(bodies)
    return lambda: Response(next(waiting))


def test_an_answer_is_given_again_while_its_stamp_is_the_same():
    make = counting("abc")

    found = asked(Remembered(), ("x", "1", make), ("x", "1", make), ("y", "1", make), ("x", "2", make), ("x", "2", make))

    assert [answer.body for answer in found] == [b"a", b"a", b"b", b"c", b"c"]


def test_a_fault_is_not_remembered():
    def fails() -> Response:
        raise KeyError

    remembered = Remembered()
    with pytest.raises(KeyError):
        asked(remembered, ("x", "1", fails))

    assert asked(remembered, ("x", "1", counting("a")))[0].body == b"a"


def test_streams_and_what_is_large_are_made_anew():
    stream, large = (lambda: StreamingResponse(iter([b""]))), (lambda: Response(bytes(LARGEST + 1)))

    for make in (stream, large):
        first, second = asked(Remembered(), ("x", "1", make), ("x", "1", make))
        assert first is not second


def test_the_answers_that_were_asked_for_longest_ago_are_forgotten_first():
    """So that they never take more room than they may."""
    room, body = Remembered(3 * (OVERHEAD + 1)), counting("abcdefg")

    found = asked(room, *((name, "1", body) for name in ("x", "y", "z", "x", "more", "x", "y", "more", "z")))

    assert b"".join(answer.body for answer in found) == b"abcadaedf"


@pytest.mark.parametrize(("kind", "made"), [(Response, 1), (StreamingResponse, 3)])
def test_who_asks_while_it_is_made_shares_what_can_be_sent_twice(kind: type[Response], made: int) -> None:
    """A stream cannot: everybody gets one of their own."""
    begun, go_on, answers = threading.Event(), threading.Event(), list[Response]()

    def make() -> Response:
        begun.set()
        go_on.wait(10)
        answers.append(kind(iter([b"a"]) if kind is StreamingResponse else b"a"))
        return answers[-1]

    async def ask() -> list[Response]:
        remembered = Remembered()
        first = asyncio.create_task(remembered.answer("x", "1", make))
        await asyncio.to_thread(begun.wait, 10)
        others = [asyncio.create_task(remembered.answer("x", "1", make)) for _ in range(2)]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(first, *others)

    found = asyncio.run(ask())

    assert (len(answers), len({id(answer) for answer in found})) == (made, made)

"""A job's events as one stream that is taken up where it broke."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from service.client.errors import Unreachable
from service.client.patience import Patience

STREAM_TRIES = 10
TERMINAL = ("succeeded", "failed", "cancelled")
Event = dict[str, Any]
Stream = Callable[[int], Iterator[Event | None]]


def unbroken(stream: Stream, is_over: Callable[[int], bool], *, after: int) -> Iterator[Event]:
    """Every event after one, to the terminal one. Raises Unreachable after too many interruptions in a row.

    `stream(after)` opens the stream anew; `is_over(after)` says whether the job has ended and no event is left.
    """
    patience = Patience(tries=STREAM_TRIES)
    while True:
        try:
            for event in _to_the_last(stream, is_over, after):
                patience = Patience(tries=STREAM_TRIES)
                if event:
                    after = event["id"]
                    yield event
        except Unreachable as failure:
            patience.after(failure)
        else:
            return


def _to_the_last(stream: Stream, is_over: Callable[[int], bool], after: int) -> Iterator[Event | None]:
    """One stream's events. Raises Unreachable where it ends before the terminal one, which the caller may have had already."""
    began_after = after
    for event in stream(after):
        yield event
        if event and _is_last(event):
            return
        after = event["id"] if event else after
    if after != began_after or not is_over(after):
        raise Unreachable("The stream of events ended before the job has.")


def whole_events(lines: Iterable[str]) -> Iterator[Event | None]:
    """The events that came whole, up to their blank line; None for a comment, which only says that the stream lives."""
    data = ""
    for line in lines:
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif line.startswith(":"):
            yield None
        elif not line and data:
            yield json.loads(data)
            data = ""


def _is_last(event: Mapping[str, Any]) -> bool:
    return event["type"] == "state" and event["data"]["state"] in TERMINAL

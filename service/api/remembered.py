"""Answers that were given already, for as long as what they tell is still so: what is unchanged is not read and written out again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

from fastapi import Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

MOST_BYTES = 32 * 2**20
LARGEST = 4 * 2**20
"""Bytes of an answer; a larger one is made anew each time."""
OVERHEAD = 1024
"""Bytes that an answer takes besides its body, roughly."""


class _Known(NamedTuple):
    stamp: str
    answer: Response


class Remembered:
    """The last answers, by what was asked: the whole of it, project and asker included where they matter. Used in one event loop only.

    An answer is good while the stamp is the same that was seen before it was made. Who asks is to be let in before this is asked.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._room = most_bytes
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self._made: dict[Hashable, asyncio.Task[Response]] = {}

    async def answer(self, asked: Hashable, stamp: str, make: Callable[[], Response]) -> Response:
        """The answer of this stamp; else what `make` returns, in a thread, for all who ask with this stamp meanwhile."""
        known = self._known.get(asked)
        if known is not None and known.stamp == stamp:
            self._known.move_to_end(asked)
            return known.answer
        made = self._made.get((asked, stamp))
        if made is not None:
            answer = await asyncio.shield(made)
            return answer if _can_be_sent_twice(answer) else await run_in_threadpool(make)
        made = self._made[asked, stamp] = asyncio.create_task(run_in_threadpool(make))
        try:
            answer = await asyncio.shield(made)  # who goes away takes nothing from the others
        finally:
            del self._made[asked, stamp]
        if _can_be_sent_twice(answer) and len(answer.body) <= LARGEST:
            self._keep(asked, _Known(stamp, answer))
        return answer

    def _keep(self, asked: Hashable, known: _Known) -> None:
        before = self._known.pop(asked, None)
        self._known[asked] = known
        self._room += (_size(before.answer) if before else 0) - _size(known.answer)
        while self._room < 0:
            _, oldest = self._known.popitem(last=False)
            self._room += _size(oldest.answer)


def _can_be_sent_twice(answer: Response) -> bool:
    return not isinstance(answer, StreamingResponse) and answer.background is None


def _size(answer: Response) -> int:
    return len(answer.body) + OVERHEAD

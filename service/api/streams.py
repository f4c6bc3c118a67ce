"""Answers that wait: long polls, server-sent events, zip files made on the way."""

from __future__ import annotations

import asyncio
import json
import time
import zipfile
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

from starlette.concurrency import run_in_threadpool

from service.jobs.errors import JobNotFound
from service.jobs.job import Job
from service.jobs.ports import Changes
from service.jobs.state import TERMINAL
from service.use_cases import Services, Whose, events

KEEP_ALIVE_SECONDS = 15.0
T = TypeVar("T")


async def settled(project: str, job_id: str, *, seconds: float, leaving: str | None, services: Services, changes: Changes) -> Job:
    """The job once its state is another than `leaving` (default: the state now), or when the time is up. A terminal one at once."""
    deadline = time.monotonic() + seconds
    with changes.watch(job_id) as watch:
        job = await run_in_threadpool(services.jobs.find, project, job_id)
        state = leaving or job.state
        while not job.is_terminal and job.state == state and (left := deadline - time.monotonic()) > 0:
            if await watch.wait(left):
                job = await run_in_threadpool(services.jobs.find, project, job_id)
        return job


class Readings:
    """Reads of the same thing that are asked for at the same time, done once. Used in one event loop only.

    A read that has begun is joined by nobody: it may miss what woke who asks now.
    """

    def __init__(self) -> None:
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}

    async def once(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` returns, in a thread."""
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.create_task(self._soon(key, read))
        found: T = await asyncio.shield(asked)  # who goes away takes nothing from the others
        return found

    async def _soon(self, key: Hashable, read: Callable[[], T]) -> T:
        await asyncio.sleep(0)  # for who was woken by the same change
        del self._asked[key]
        return await run_in_threadpool(read)


class Told(NamedTuple):
    """Events as they are sent, the number of the last, and whether none will follow."""

    text: str
    last: int
    over: bool


async def event_stream(job: Whose, *, after: int, services: Services, changes: Changes, readings: Readings) -> AsyncGenerator[str, None]:
    """The job's events as server-sent events, from after `after` to the terminal one. Many streams of one job read it once."""
    with changes.watch(job.id) as watch:
        while True:
            told = await readings.once((job.project, job.id, after), partial(_told, job, after, services))
            if told.text:
                yield told.text
            if told.over:
                return
            if told.last == after:
                while not await watch.wait(KEEP_ALIVE_SECONDS):
                    yield ": still here\n\n"  # nothing is read for it: every change wakes the watch, and so does a broken subscription
            after = told.last


def _told(job: Whose, after: int, services: Services) -> Told:
    read = partial(events, job, after=after, limit=500, services=services)
    try:
        found = read()
        if not found and services.jobs.find(job.project, job.id).is_terminal:
            found = read()  # it may have ended since
            if not found:
                return Told("", after, over=True)  # resumed after the last event
    except JobNotFound:
        return Told("", after, over=True)  # deleted
    if not found:
        return Told("", after, over=False)
    ends = [at for at, event in enumerate(found, 1) if event["type"] == "state" and event["data"]["state"] in TERMINAL]
    sent = found[: ends[0]] if ends else found
    text = "".join(f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in sent)
    return Told(text, sent[-1]["id"], over=bool(ends))


class _Pipe:
    """A file that only collects what a zip writer writes, so that it can be sent as it comes."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing to do: `taken` empties it."""

    def taken(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def zipped(files: Iterable[tuple[Mapping[str, Any], Iterator[bytes]]]) -> Iterator[bytes]:
    """A zip of (manifest entry, chunks), stored, never whole in memory or on disk."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # an unseekable writer is enough
        for file, chunks in files:
            entry = zipfile.ZipInfo(file["path"], date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=file["size"] >= 2**31) as out:
                for chunk in chunks:
                    out.write(chunk)
                    yield pipe.taken()
            yield pipe.taken()
    yield pipe.taken()

"""Answers that wait: long polls, server-sent events, zip files made on the way."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool

from service.jobs.errors import JobNotFound
from service.jobs.job import Job
from service.jobs.ports import Changes
from service.jobs.state import TERMINAL
from service.use_cases import Services, events

KEEP_ALIVE_SECONDS = 15.0


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


async def event_stream(job: Job, *, after: int, services: Services, changes: Changes) -> AsyncGenerator[str, None]:
    """The job's events as server-sent events, from after `after` to the terminal one."""
    with changes.watch(job.id) as watch:
        while True:
            try:
                found = await run_in_threadpool(events, job, after=after, limit=500, services=services)
            except JobNotFound:
                return  # deleted
            for event in found:
                after = event["id"]
                yield f"id: {after}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
                if event["type"] == "state" and event["data"]["state"] in TERMINAL:
                    return
            if not found:
                if await run_in_threadpool(_is_over, job, services):
                    return  # resumed after the last event
                while not await watch.wait(KEEP_ALIVE_SECONDS):
                    yield ": still here\n\n"  # nothing is read for it: every change wakes the watch, and so does a broken subscription


def _is_over(job: Job, services: Services) -> bool:
    try:
        return services.jobs.find(job.project, job.id).is_terminal
    except JobNotFound:
        return True


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

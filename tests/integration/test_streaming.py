"""Event streams over what changes while they read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.adapters import memory
from service.api.streams import Readings, event_stream
from service.jobs.job import Job
from service.use_cases import cancel
from tests.integration.conftest import Clock
from tests.services import services_of


def test_a_job_that_ends_between_two_reads_is_told_to_have_ended(clock: Clock, new_job: Callable[..., Job]):
    """The events were read before it was cancelled, its state afterwards."""
    stores = memory.stores(now=clock.now)
    job = stores.jobs.submit(new_job(), idempotency=None).job
    plain = stores.facts

    class CancelledMeanwhile:
        """Somebody cancels the job just after its events were found to be none."""

        cancelled = False

        def events(self, project: str, job_id: str, *, after: int, limit: int) -> Sequence[Mapping[str, Any]] | None:
            found = plain.events(project, job_id, after=after, limit=limit)
            if not found and not self.cancelled:
                self.cancelled = True
                cancel(project, job_id, services=services_of(stores))
            return found

    services = services_of(stores, facts=CancelledMeanwhile())

    async def heard() -> str:
        stream = event_stream(job, after=0, services=services, changes=stores.changes, readings=Readings())
        return "".join([text async for text in stream])

    assert '"cancelled"' in asyncio.run(heard())


def test_streams_that_wake_together_read_once_and_none_joins_a_read_that_has_begun():
    reads: list[int] = []

    async def all_at_once() -> tuple[set[int], int]:
        readings = Readings()
        begun, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def read() -> int:
            reads.append(len(reads))
            number = len(reads)
            if number == 1:
                loop.call_soon_threadsafe(begun.set)
                asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            return number

        first = [asyncio.create_task(readings.once("job", read)) for _ in range(100)]
        await begun.wait()
        late = asyncio.create_task(readings.once("job", read))
        found = await late
        go_on.set()
        return set(await asyncio.gather(*first)), found

    assert asyncio.run(all_at_once()) == ({1}, 2)
    assert len(reads) == 2

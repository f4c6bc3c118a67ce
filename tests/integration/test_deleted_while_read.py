"""A reader that found a job, and whose job is deleted, objects and all, before it reads on. On both stores."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service import use_cases
from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.stores import TAIL_SECONDS, Stores
from service.jobs.errors import JobNotFound
from service.jobs.job import Job
from service.jobs.layout import artifacts_prefix
from service.jobs.ports import Outcome
from tests.integration.conftest import Clock
from tests.services import services_of

NewJob = Callable[..., Job]


def test_a_reader_of_a_job_that_goes_hears_that_it_is_gone(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Not that it succeeded without artifacts, events or rows."""
    artifacts = MemoryArtifacts()
    services, sweeper = services_of(stores, artifacts=artifacts), stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell())
    stores.jobs.submit(new_job(), idempotency=None)
    claim = stores.attempts.claim(worker="w", device="cpu")
    assert claim is not None
    artifacts.put_bytes(artifacts_prefix("default", claim.job.id, claim.token) + "manifest.json", b'{"files": []}')
    stores.attempts.finish(claim, Outcome(kind="succeeded"))
    sweeper.sweep()
    found = stores.jobs.find("default", claim.job.id)
    assert len(use_cases.manifest(found, artifacts=artifacts)) == 1

    use_cases.delete("default", found.id, services=services)
    sweeper.sweep()
    clock.pass_by(2 * TAIL_SECONDS)

    assert artifacts.list("") == []
    for read in (
        lambda: use_cases.manifest(found, artifacts=artifacts),
        lambda: use_cases.events(found, after=0, limit=10, services=services),
        lambda: use_cases.metrics(found, services=services),
        lambda: use_cases.logs(found, services=services),
    ):
        with pytest.raises(JobNotFound):
            read()

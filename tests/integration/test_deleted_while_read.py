"""A reader that found a job, and whose job is deleted, objects and all, before it reads on. On both stores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from service import use_cases
from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.preflight_child import PreflightChildren
from service.adapters.stores import TAIL_SECONDS, Stores
from service.jobs.errors import JobNotFound
from service.jobs.job import Job
from service.jobs.layout import artifacts_prefix
from service.jobs.ports import Outcome
from service.use_cases import Services
from tests.integration.conftest import Clock

NewJob = Callable[..., Job]


def services_on(stores: Stores, artifacts: MemoryArtifacts) -> Services:
    """The use cases' collaborators; nothing is checked or rung here."""
    return Services(
        jobs=stores.jobs,
        intake=stores.intake,
        requests=stores.requests,
        facts=stores.facts,
        artifacts=artifacts,
        preflight=PreflightChildren(children=0, contained=lambda: pytest.fail("nothing is checked here")),
        workers=stores.workers,
        threads=1,
        project_slots=0,
        ring=lambda *_: None,
        now=lambda: datetime.now(tz=UTC),
    )


def test_a_reader_of_a_job_that_goes_hears_that_it_is_gone(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Not that it succeeded without artifacts, events or rows."""
    artifacts = MemoryArtifacts()
    services, sweeper = services_on(stores, artifacts), stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell())
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

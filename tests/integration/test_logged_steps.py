"""The loss of single steps in the store and in storage, one body of tests for Redis and for its twin in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from service import use_cases
from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.stores import Stores
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import checkpoint_prefix, steps_key
from service.jobs.ports import Claim, Outcome, Report
from service.jobs.steps import Step
from service.rebuilding import rebuild
from tests.integration.conftest import Clock
from tests.services import services_of

NewJob = Callable[..., Job]


def row(step: int, loss: float | None = 0.1 + 0.2) -> list[float | None]:
    return [step, 1 + step // 10, loss, 0.05]


def claimed(stores: Stores, job: Job) -> Claim:
    stores.jobs.submit(job, idempotency=None)
    claim = stores.attempts.claim(worker="w", device="cpu")
    assert claim is not None
    return claim


def told(stores: Stores, claim: Claim, after: int = -1) -> list[Step] | None:
    found = stores.facts.steps(claim.job.project, claim.job.id, after=after)
    return None if found is None else list(found)


def test_steps_come_back_as_they_were_told(stores: Stores, new_job: NewJob) -> None:
    """No digit is lost; a loss that is no number is none; what is asked for comes after a step."""
    claim = claimed(stores, new_job())
    assert told(stores, claim) == []

    stores.facts.report(claim, Report(steps=[row(5), row(10, 1 / 3), row(15, math.nan)]))
    stores.facts.report(claim, Report(steps=[(20, 3, 2.0, 1e-7)]))

    assert told(stores, claim) == [row(5), row(10, 1 / 3), row(15, None), [20, 3, 2.0, 1e-7]]
    assert [step[0] for step in told(stores, claim, after=10) or ()] == [15, 20]
    assert [step[0] for step in told(stores, claim, after=9) or ()] == [10, 15, 20]
    assert told(stores, claim, after=20) == []


def test_repeated_steps_are_dropped(stores: Stores, new_job: NewJob) -> None:
    """A resumed attempt tells steps again that were told before the checkpoint's end: the first telling stays."""
    claim = claimed(stores, new_job())
    stores.facts.report(claim, Report(steps=[row(1, 0.5), row(2, 0.4), row(3, 0.3)]))
    stores.facts.report(claim, Report(steps=[row(1, 0.5), row(2, 0.4), row(3, 0.3)]))

    stores.facts.report(claim, Report(steps=[row(2, 9.0), row(3, 9.0), row(4, 0.2), row(5, 0.1)]))

    assert told(stores, claim) == [row(1, 0.5), row(2, 0.4), row(3, 0.3), row(4, 0.2), row(5, 0.1)]


def test_the_live_tail_is_capped(stores: Stores, new_job: NewJob) -> None:
    """The newest 100,000 stay."""
    claim = claimed(stores, new_job())
    for start in range(0, 100_500, 20_100):
        stores.facts.report(claim, Report(steps=[[step, 1, 0.5, 0.1] for step in range(start, start + 20_100)]))

    found = told(stores, claim)

    assert found is not None
    assert (len(found), found[0][0], found[-1][0]) == (100_000, 500, 100_499)


def test_an_ended_jobs_steps_are_read_from_storage(stores: Stores, new_job: NewJob) -> None:
    """A sweeper saves them; once the live tail is gone the same rows come from there."""
    artifacts = MemoryArtifacts()
    services = services_of(stores, artifacts=artifacts)
    claim = claimed(stores, new_job())
    stores.facts.report(claim, Report(steps=[row(step, None if step == 3 else step / 7) for step in range(1, 9)]))
    stores.attempts.finish(claim, Outcome(kind="succeeded"))
    job = stores.jobs.find("default", claim.job.id)
    live = use_cases.steps(job, services=services)

    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).save()
    artifacts_only = services_of(_without_tail(stores), artifacts=artifacts)

    assert len(live) == 8
    assert list(use_cases.steps(job, services=artifacts_only)) == list(live)
    assert list(use_cases.steps(job, after=6, services=artifacts_only)) == list(live[6:])


class _Gone:
    """The facts of a job whose live tail has expired."""

    def steps(self, *_: object, **__: object) -> None:
        return None


def _without_tail(stores: Stores) -> Stores:
    from dataclasses import replace

    return replace(stores, facts=_Gone())


def test_a_job_that_logged_nothing_has_no_steps(stores: Stores, new_job: NewJob) -> None:
    """Neither in the store nor in storage."""
    artifacts = MemoryArtifacts()
    claim = claimed(stores, new_job())
    stores.attempts.finish(claim, Outcome(kind="succeeded"))
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).save()
    job = stores.jobs.find("default", claim.job.id)

    assert list(use_cases.steps(job, services=services_of(_without_tail(stores), artifacts=artifacts))) == []


def _at_step(claim: Claim, step: int) -> CheckpointPointer:
    prefix = checkpoint_prefix(claim.job.project, claim.job.id, claim.token, step)
    return CheckpointPointer(token=claim.token, epoch=0, step=step, prefix=prefix)


def test_a_retry_starts_with_the_steps_up_to_its_checkpoint(stores: Stores, new_job: NewJob) -> None:
    """And goes on after them."""
    services = services_of(stores)
    claim = claimed(stores, new_job())
    stores.facts.report(claim, Report(steps=[row(step) for step in range(1, 9)]))
    stores.attempts.checkpoint(claim, _at_step(claim, 5), keep=2)
    stores.attempts.finish(claim, Outcome(kind="failed"))

    retry = use_cases.retry("default", claim.job.id, services=services).job
    again = stores.attempts.claim(worker="w", device="cpu")
    assert again is not None
    stores.facts.report(again, Report(steps=[row(5, 9.0), row(6), row(7)]))

    assert again.job.id == retry.id
    assert told(stores, again) == [row(step) for step in range(1, 8)]


def test_deleting_a_job_takes_its_steps(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """No key of it stays behind."""
    import redis

    claim = claimed(redis_stores, new_job())
    redis_stores.facts.report(claim, Report(steps=[row(1)]))
    redis_stores.attempts.finish(claim, Outcome(kind="succeeded"))

    redis_stores.requests.delete("default", claim.job.id)

    with redis.Redis.from_url(redis_url) as client:
        assert client.keys(f"ty:job:{claim.job.id}*") == []


@pytest.mark.parametrize("covered", [-1, 4])
def test_a_rebuild_restores_the_steps_up_to_the_checkpoint(stores: Stores, new_job: NewJob, clock: Clock, covered: int) -> None:
    """Those after it are trained again, and told again."""
    artifacts = MemoryArtifacts()
    claim = claimed(stores, new_job())
    stores.facts.report(claim, Report(steps=[row(step) for step in range(1, 9)]))
    if covered >= 0:
        stores.attempts.checkpoint(claim, _at_step(claim, covered), keep=2)
        manifest = {"token": claim.token, "epoch": 0, "step": covered, "files": []}
        artifacts.put_bytes(_at_step(claim, covered).prefix + "manifest.json", json.dumps(manifest).encode())
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).save()
    from service.adapters import memory

    lost = memory.stores(now=clock.now)

    found = rebuild(artifacts=artifacts, rebuilding=lost.rebuilding, datasets=lost.datasets, access=lost.access)

    assert found.restored == 1
    assert artifacts.list(steps_key("default", claim.job.id))
    assert told(lost, claim) == [row(step) for step in range(1, covered + 1)]

"""Submitting in one round trip: what is recalled is what would be found anew, and what a submission goes by is checked by the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from service import use_cases
from service.adapters.stores import Stores
from service.jobs.errors import IdempotencyConflict, Outdated, SpecRejected
from service.jobs.job import Job
from service.jobs.ports import Idempotency, Outcome, WorkerBeat
from service.jobs.state import JobState
from service.spec.checking import verdict
from service.spec.verdict import Checked
from service.use_cases import Services
from tests.corpus.good import spec
from tests.integration.conftest import Clock
from tests.services import services_of

NewJob = Callable[..., Job]
BODY = spec(["Flatten", {"type": "Linear", "in_features": 64, "out_features": 10}])
CPU = WorkerBeat(name="a", device="cpu", slots=1, busy=1, threads=1)
CHECKED = Checked(resolved={"model": {"type": "Sequential", "layers": []}})


class OnePreflight:
    """Checks every spec once, to the same end; a second time is a failure."""

    def __init__(self) -> None:
        self.left = 1

    def check(self, parts: object) -> Checked:
        del parts
        self.left -= 1
        assert self.left >= 0, "a spec that differs in its own values only was checked again"
        return CHECKED


@pytest.fixture
def services(stores: Stores, clock: Clock) -> Services:
    """The use cases' collaborators."""
    return services_of(stores, preflight=OnePreflight(), threads=3, now=clock.now)


def submit(body: dict[str, Any], services: Services) -> Job:
    """Submit from a thread."""
    return use_cases.submit(body, project="default", idempotency=None, services=services).job


def recalled(body: dict[str, Any], services: Services) -> Job | None:
    """Submit from an event loop; None where it would not be done there."""

    async def ask() -> Job | None:
        try:
            found = await use_cases.submit_recalled(body, project="default", idempotency=None, services=services)
        finally:
            await services.intake.aclose()
        return found.job if found else None

    return asyncio.run(ask())


@pytest.mark.parametrize("way", [submit, recalled], ids=["thread", "loop"])
@pytest.mark.parametrize("own", [{"seed": 7}, {"name": "b"}, {"labels": {"a": "b"}, "name": None, "seed": 0}], ids=str)
def test_a_sweep_is_judged_once(services: Services, way: Callable[..., Job], own: dict[str, Any]) -> None:
    """A job that differs in name, labels and seed is not checked, and has the spec and the resolved spec that checking it would give."""
    first = {**BODY, **{name: {"seed": 1, "name": "a", "labels": {}}[name] for name in own}}
    submit(first, services)

    second = way({**first, **own}, services)

    body = {**first, **own}
    assert second.spec == body
    assert second.resolved_spec == verdict(body, CHECKED, threads=3).resolved_spec
    assert list(second.resolved_spec or {}) == list(verdict(body, CHECKED, threads=3).resolved_spec or {})
    found = services.jobs.find("default", second.id)
    assert found == second
    assert (list(found.spec), list(found.resolved_spec or {})) == (list(body), list(second.resolved_spec or {}))


@pytest.mark.parametrize("own", [{"seed": -1}, {"name": 3}, {"labels": {"a": 1}}], ids=str)
def test_own_values_that_are_wrong_are_refused_all_the_same(services: Services, own: dict[str, Any]) -> None:
    """Also where the rest of the spec is known to be good."""
    submit({**BODY, **{name: {"seed": 1, "name": "a", "labels": {}}[name] for name in own}}, services)
    services.preflight.left = 1  # type: ignore[attr-defined]  # it may be asked once more, for all faults at once

    assert recalled({**BODY, **own}, services) is None
    with pytest.raises(SpecRejected):
        submit({**BODY, **own}, services)


def test_the_loop_leaves_to_threads_what_it_does_not_know(services: Services) -> None:
    """A spec that was never judged, of which nothing is stored then."""
    assert recalled(BODY, services) is None
    assert services.jobs.list("default", limit=9, cursor=None, states=(), labels={}, name=None).jobs == []


@pytest.mark.parametrize("way", [submit, recalled], ids=["thread", "loop"])
def test_a_submission_sees_the_worker_that_has_just_come_and_the_one_that_has_just_gone(
    services: Services, way: Callable[..., Job]
) -> None:
    """Whatever was seen before: the warning is there when nobody can run the job, and only then."""
    codes = [[warning.code for warning in submit(BODY, services).warnings]]
    services.workers.beat(CPU)
    codes.append([warning.code for warning in way(BODY, services).warnings])
    services.workers.leave(CPU.name)
    codes.append([warning.code for warning in way(BODY, services).warnings])

    assert codes == [["no_capable_worker"], [], ["no_capable_worker"]]


def test_an_outlook_is_outdated_by_workers_and_by_finished_jobs(stores: Stores, new_job: NewJob) -> None:
    """By a class that gets or loses its last live worker, a success, and its deletion; not by anything else."""

    def outdated() -> bool:
        try:
            stores.jobs.submit(new_job(project="asks"), idempotency=None, outlook=seen)
        except Outdated:
            return True
        return False

    seen = stores.jobs.outlook("asks", limit=5)
    assert not outdated()
    stores.workers.beat(CPU)
    assert outdated()
    seen = stores.jobs.outlook("asks", limit=5)
    stores.workers.beat(replace(CPU, name="b"))
    assert not outdated()

    claim = stores.attempts.claim(worker="a", device="cpu")
    assert claim is not None
    assert not outdated()
    stores.attempts.finish(claim, Outcome(kind="succeeded"))
    assert outdated()
    seen = stores.jobs.outlook("asks", limit=5)
    assert [job.id for job in seen.finished] == [claim.job.id]
    assert seen.devices == {"cpu"}
    stores.requests.delete("asks", claim.job.id)
    assert outdated()


def test_a_submitted_job_knows_its_place_and_whether_a_slot_has_to_be_woken(stores: Stores, new_job: NewJob) -> None:
    """Busy workers look by themselves; idle ones have to be rung for."""
    stores.workers.beat(CPU)
    first = stores.jobs.submit(new_job(), idempotency=None)
    stores.workers.beat(replace(CPU, busy=0))
    second = stores.jobs.submit(new_job(priority=5), idempotency=None)

    assert (first.position, first.rings) == (1, False)
    assert (second.position, second.rings) == (1, True)
    assert {device: (demand.waiting, demand.idle) for device, demand in stores.housekeeping.demand().items()} == {
        "cpu": (2, 1),
        "gpu": (0, 0),
    }


def test_a_saved_ended_job_is_as_it_was_and_small(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """It is found, listed and filtered like before, and only its record's remainder is left."""
    stores = redis_stores
    stores.jobs.submit(new_job(name="n", labels={"a": "b"}), idempotency=None)
    claim = stores.attempts.claim(worker="w", device="cpu")
    assert claim is not None
    stores.attempts.finish(claim, Outcome(kind="succeeded"))
    before = stores.jobs.find("default", claim.job.id)

    stores.housekeeping.saved(before)

    assert stores.jobs.find("default", before.id) == before
    assert list(stores.jobs.list("default", limit=5, cursor=None, states=[JobState.SUCCEEDED], labels={"a": "b"}, name="n").jobs) == [
        before
    ]
    assert stores.attempts.finish(claim, Outcome(kind="succeeded")) is JobState.SUCCEEDED
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert {key.partition(before.id)[2] for key in client.keys(f"ty:job:{before.id}*")} == {"", ":ended", ":events"}


def test_the_intake_survives_what_its_connection_does_not(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """A broken connection and a forgotten script: the job is taken in all the same, once; and what the store refuses stays refused."""
    intake, outlook = redis_stores.intake, redis_stores.jobs.outlook("default", limit=1)

    async def all_of_it(client: redis.Redis) -> None:
        await asyncio.gather(*(intake.submit(new_job(), shape="s", idempotency=None, outlook=outlook) for _ in range(20)))
        client.client_kill_filter(_type="normal", skipme=True)
        await intake.submit(new_job(), shape="s", idempotency=None, outlook=outlook)
        client.script_flush()
        keyed = [Idempotency(key="k", body_sha256=body) for body in ("a" * 64, "a" * 64, "b" * 64)]
        first = await intake.submit(new_job(), shape="s", idempotency=keyed[0], outlook=outlook)
        again = await intake.submit(new_job(), shape="s", idempotency=keyed[1], outlook=outlook)
        assert (again.job, again.replayed) == (first.job, True)
        with pytest.raises(IdempotencyConflict):
            await intake.submit(new_job(), shape="s", idempotency=keyed[2], outlook=outlook)
        await intake.aclose()

    with redis.Redis.from_url(redis_url) as client:
        asyncio.run(all_of_it(client))
    assert len(redis_stores.jobs.list("default", limit=50, cursor=None, states=(), labels={}, name=None).jobs) == 22


def test_jobs_that_differ_in_their_own_values_share_their_specs(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """Another seed, another name, other labels: one copy of the rest, and each has its own back."""
    specs = [{"seed": number, "name": f"n{number}", "labels": {"n": str(number)}, "epochs": 5} for number in range(3)]
    jobs = [redis_stores.jobs.submit(new_job(spec=each, resolved_spec=each), idempotency=None).job for each in specs]

    assert [redis_stores.jobs.find("default", job.id).spec for job in jobs] == specs
    with redis.Redis.from_url(redis_url) as client:
        assert len(client.keys("ty:spec:*")) == 1

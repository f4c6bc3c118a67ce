"""Jobs for several GPUs: who takes them, who waits for whom, and what a submission is told. On Redis and on its twin in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
import redis

from service.adapters.stores import Stores
from service.jobs.errors import Outdated
from service.jobs.ports import Claim, GpuLoad, Outcome, WorkerBeat
from service.jobs.state import JobState
from service.use_cases.submitting import _placed
from tests.e2e.stack import until
from tests.integration.conftest import Clock
from tests.integration.steps import NewJob, claim, submit
from worker.gpus import Gpu, GpuPool
from worker.slots import Slots

BUSY = GpuLoad(index=1, name="H100", memory_bytes=2**36, memory_used_bytes=2**30, utilisation_percent=37)


def beat(name: str = "g", **fields: Any) -> WorkerBeat:
    """Of a worker with GPUs."""
    return WorkerBeat(**{"name": name, "device": "gpu", "slots": 2, "busy": 0, "threads": 1} | fields)


def for_gpus(count: int) -> dict[str, Any]:
    """A job's fields that take so many GPUs."""
    spec = {"epochs": 5, "resources": {"device": "gpu", "gpus": count}}
    return {"device": "gpu", "spec": spec, "resolved_spec": spec}


def claimed(stores: Stores, *, free: int, most: int) -> str | None:
    """The job that a worker with so many GPUs takes, so many of them free."""
    taken = stores.attempts.claim(worker="w", device="gpu", free_gpus=free, most_gpus=most)
    return taken.job.id if taken else None


def test_a_worker_passes_over_a_job_for_more_gpus_than_it_has(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """However many of its own are free; the job waits for a worker that has enough, and keeps nobody else waiting."""
    large = submit(stores, new_job(**for_gpus(4)))
    clock.pass_by(1)
    small = submit(stores, new_job(**for_gpus(1)))

    assert claimed(stores, free=2, most=2) == small.id
    assert claimed(stores, free=2, most=2) is None
    assert claimed(stores, free=4, most=4) == large.id


def test_gpus_are_kept_for_a_job_that_the_worker_has_enough_of_but_not_now(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Jobs that came later and need less do not overtake it for ever; another worker, which never could, takes them meanwhile."""
    submit(stores, new_job(**for_gpus(1)))
    clock.pass_by(1)
    large = submit(stores, new_job(**for_gpus(2)))
    clock.pass_by(1)
    small = submit(stores, new_job(**for_gpus(1)))
    other = submit(stores, new_job(project="theirs", **for_gpus(1)))

    assert claimed(stores, free=2, most=2) is not None
    theirs = claimed(stores, free=1, most=2)  # the other project has nothing running: it is its turn
    assert theirs == other.id
    assert claimed(stores, free=1, most=2) is None
    assert claimed(stores, free=1, most=1) == small.id
    assert claimed(stores, free=2, most=2) == large.id


def test_the_gpus_of_a_job_mean_nothing_to_a_cpus_worker(stores: Stores, new_job: NewJob) -> None:
    """It is asked for none, whatever it has."""
    fields = for_gpus(3) | {"device": "cpu"}
    job = submit(stores, new_job(**fields))

    assert claim(stores).job == stores.jobs.find("default", job.id)


class Crewed:
    """A worker of two GPUs whose attempts last until they are told to end."""

    def __init__(self, stores: Stores) -> None:
        gpus = [Gpu(id=f"GPU-{at}", index=at, name="H100", memory_bytes=None) for at in range(2)]
        self.held: dict[str, Sequence[str]] = {}
        self.ends: dict[str, threading.Event] = {}
        self.started = threading.Semaphore(0)
        self.rung = threading.Semaphore(0)
        self.stores = stores
        self.slots = Slots(
            attempts=stores.attempts,
            workers=stores.workers,
            beat=beat(job_gpus=2),
            supervise=self._supervise,
            ring=self.rung.release,
            held=lambda: (0, 0.0),
            draining=threading.Event(),
            gpus=GpuPool(gpus, slots=2),
        )

    def ring(self) -> threading.Thread:
        """Wake a slot."""
        thread = threading.Thread(target=self.slots.work, daemon=True)
        thread.start()
        return thread

    def _supervise(self, claim: Claim, gpus: Sequence[str]) -> JobState:
        self.held[claim.job.id], self.ends[claim.job.id] = gpus, threading.Event()
        self.started.release()
        assert self.ends[claim.job.id].wait(20)
        del self.held[claim.job.id]
        return self.stores.attempts.finish(claim, Outcome(kind="succeeded"))

    def until_started(self) -> None:
        """One more attempt has its GPUs."""
        assert self.started.acquire(timeout=20)


def until_one_ends(threads: Sequence[threading.Thread]) -> None:
    """A slot that found nothing to do."""
    until(lambda: not all(each.is_alive() for each in threads), seconds=20)


def test_a_workers_slots_hand_out_each_gpu_once_and_know_when_none_is_left(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """One and one; then both for one job, whose end wakes a second slot; a slot without a GPU is not told to be idle."""
    small, other, large, last, very_last = (submit(stores, new_job(**for_gpus(count))) for count in (1, 1, 2, 1, 1) if not clock.pass_by(1))
    worker = Crewed(stores)
    threads = [worker.ring(), worker.ring()]
    for _ in range(2):
        worker.until_started()
    assert sorted(gpu for gpus in worker.held.values() for gpu in gpus) == ["GPU-0", "GPU-1"]
    assert set(worker.held) == {small.id, other.id}

    worker.ends[small.id].set()
    until_one_ends(threads)
    assert large.id not in worker.held  # one GPU is free, and kept for it
    worker.ends[other.id].set()
    worker.until_started()
    assert sorted(worker.held[large.id]) == ["GPU-0", "GPU-1"]
    assert not worker.slots.idle
    worker.slots.beat()
    assert [(each.slots, each.busy) for each in stores.workers.workers()] == [(2, 2)]

    worker.ends[large.id].set()
    worker.until_started()
    assert worker.rung.acquire(timeout=20)
    threads.append(worker.ring())
    worker.until_started()
    assert set(worker.held) == {last.id, very_last.id}
    for job in (last, very_last):
        worker.ends[job.id].set()
    for thread in threads:
        thread.join(20)
    assert worker.slots.idle
    worker.slots.beat()
    assert [each.busy for each in stores.workers.workers()] == [0]


def test_a_submission_sees_how_many_gpus_a_worker_has_for_a_job(stores: Stores, new_job: NewJob) -> None:
    """And notices when another worker has more."""
    stores.workers.beat(beat("a", job_gpus=2))
    seen = stores.jobs.outlook("default", limit=1)
    stores.workers.beat(beat("b", job_gpus=4))

    with pytest.raises(Outdated):
        stores.jobs.submit(new_job(), idempotency=None, outlook=seen)
    after = stores.jobs.outlook("default", limit=1)
    stores.workers.leave("b")

    assert (seen.job_gpus, after.job_gpus) == (2, 4)
    assert stores.jobs.outlook("default", limit=1).job_gpus == 2


@pytest.mark.parametrize(
    ("wanted", "gpus", "live", "most", "device", "pointers"),
    [
        ("gpu", 1, {"gpu"}, 2, "gpu", []),
        ("gpu", 2, {"gpu"}, 2, "gpu", []),
        ("gpu", 4, {"gpu"}, 2, "gpu", ["/resources/gpus"]),
        ("gpu", 4, {"cpu"}, 0, "gpu", ["/resources/device"]),
        ("auto", 2, {"cpu"}, 0, "gpu", ["/resources/device"]),
        ("auto", 1, {"cpu", "gpu"}, 1, "gpu", []),
        ("auto", 1, {"cpu"}, 0, "cpu", []),
    ],
)
def test_the_warning_that_nobody_can_run_a_job_covers_its_gpus(
    wanted: str, gpus: int, live: set[Any], most: int, device: str, pointers: list[str]
) -> None:
    """`auto` with more than one is a GPU, whoever lives."""
    placed, warnings = _placed(wanted, gpus, live=live, job_gpus=most)

    assert placed == device
    assert [warning.pointer for warning in warnings] == pointers
    assert {warning.code for warning in warnings} <= {"no_capable_worker"}


def test_how_busy_the_gpus_are_is_told_by_the_beat(stores: Stores) -> None:
    """As it was given."""
    stores.workers.beat(beat(gpus=(BUSY,)))

    assert [worker.gpus for worker in stores.workers.workers()] == [(BUSY,)]


def test_a_beat_of_a_newer_worker_is_read_as_far_as_it_is_known(redis_stores: Stores, redis_url: str) -> None:
    """What was added to it since is passed over."""
    redis_stores.workers.beat(beat(gpus=(BUSY,)))
    told = asdict(beat(gpus=(BUSY,))) | {"at": None, "warp": 9}
    with redis.Redis.from_url(redis_url) as client:
        client.set("ty:worker:g", json.dumps(told))

    assert [worker.gpus for worker in redis_stores.workers.workers()] == [(BUSY,)]

"""Processes that die, hang or dawdle: whoever it is, the job goes on, to the very model that it gives undisturbed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from typing import Any

import pytest

from tests.e2e.faults.house import House, Part
from tests.e2e.stack import until

Steady = Callable[..., dict[str, Any]]


@pytest.fixture
def steady(quick: dict[str, Any]) -> Steady:
    """Makes jobs of some seconds, with a checkpoint every twenty steps."""

    def make(**parts: Any) -> dict[str, Any]:
        return quick | {"epochs": 60, "checkpoint": {"every_n_steps": 20, "keep_last": 2}} | parts

    return make


@pytest.fixture(scope="module")
def other(house: House) -> Part:
    """A worker that is there when another one is not."""
    return house.worker("other").start()


numbers = count(1)


@pytest.fixture
def first(house: House, other: Part, request: pytest.FixtureRequest) -> Iterator[Part]:
    """A worker that takes the job: the other one is frozen when it is submitted."""
    worker = house.worker(f"first-{next(numbers)}", **getattr(request, "param", {})).start()
    with other.frozen():
        yield worker
    if worker.alive:
        worker.stop()


@pytest.fixture
def undisturbed(house: House, other: Part, steady: Steady, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The model of a steady job that nothing happens to; trained once."""
    kept = tmp_path_factory.getbasetemp() / "steady"
    if not kept.exists():
        assert other.alive
        kept.write_bytes(house.weights(house.run(steady())))
    return kept.read_bytes()


def interrupted(house: House, spec: dict[str, Any]) -> str:
    """A job that has a checkpoint and trains on."""
    job = house.client.submit(spec)["id"]
    house.until_event(job, "checkpoint")
    return str(job)


def resumed(house: House, job: str) -> dict[str, Any]:
    """The job once it has ended; it went on from a checkpoint and told every epoch once."""
    ended = house.client.wait(job, timeout=90)
    assert ended["state"] == "succeeded", ended["error"]
    assert [row["epoch"] for row in house.client.metrics(job)] == list(range(1, 61))
    assert "resuming after step" in house.client.logs(job)
    return ended


def reasons(job: dict[str, Any]) -> set[str | None]:
    return {step["reason"] for step in job["transitions"]}


def test_a_zygote_that_is_killed_costs_one_attempt(house: House, first: Part, steady: Steady, undisturbed: bytes):
    """Its trainers die with it; the same worker starts another zygote and goes on."""
    job = interrupted(house, steady())

    [zygote] = first.zygotes
    os.kill(zygote, signal.SIGKILL)
    ended = resumed(house, job)

    assert (ended["attempt"], first.alive) == (2, True)
    assert "trainer_lost" in reasons(ended)
    assert house.weights(ended) == undisturbed


@pytest.mark.parametrize("first", [{"TRAINYARD_STALL_SECONDS": "4"}], indirect=True)
def test_a_trainer_that_hangs_is_ended_and_the_job_goes_on(house: House, first: Part, steady: Steady, undisturbed: bytes):
    """No word for the stall time: the trainer is killed, though it cannot even hear a TERM."""
    job = interrupted(house, steady())

    [trainer] = first.trainers
    os.kill(trainer, signal.SIGSTOP)
    ended = resumed(house, job)

    assert ended["attempt"] >= 2  # on a busy machine a slow one may count as hanging too
    assert "stalled" in reasons(ended)
    assert house.weights(ended) == undisturbed


def test_a_job_whose_every_trainer_dies_fails_and_the_next_one_runs(house: House, first: Part, quick: dict[str, Any]):
    """After max_retries the job fails with the reason; it neither runs for ever nor stands in the way."""
    endless = quick | {"epochs": 2000, "checkpoint": {}, "resources": {"max_retries": 2}}
    job = house.client.submit(endless)["id"]
    behind = house.client.submit(quick)["id"]

    for attempt in (1, 2, 3):
        until(lambda now=attempt: house.client.get(job)["attempt"] == now and first.trainers, seconds=30)
        os.kill(first.trainers[0], signal.SIGKILL)
        until(lambda now=attempt: house.client.get(job)["state"] == "failed" or house.client.get(job)["attempt"] > now, seconds=30)
    ended = house.client.wait(job, timeout=30)

    assert (ended["state"], ended["reason"], ended["attempt"], ended["retries"]) == ("failed", "trainer_lost", 3, 2)
    assert "max_retries" in ended["error"]["hint"]
    assert house.client.wait(behind, timeout=30)["state"] == "succeeded"


def test_loader_processes_die_with_a_killed_worker(house: House, first: Part, other: Part, steady: Steady):
    """Worker parent killed by kill -9 in mid-epoch: trainer and DataLoader workers are gone within five seconds."""
    augmented = {"type": "Digits", "limit": 200, "train_transforms": [{"type": "RandomAffine", "degrees": 5}]}
    job = house.client.submit(steady(dataset=augmented, dataloader={"batch_size": 20, "num_workers": 2}))["id"]
    until(lambda: len(first.tree()) >= 5, seconds=30)  # worker, zygote, trainer, two loaders
    tree = set(first.tree())

    first.kill()
    until(lambda: not tree & house.processes().keys(), seconds=5)

    other.signal(signal.SIGCONT)
    house.until_event(job, "epoch")
    assert house.client.cancel(job)["id"] == job


def test_a_drain_that_is_cut_short_is_a_lost_worker(house: House, first: Part, other: Part, steady: Steady, undisturbed: bytes):
    """SIGTERM, and SIGKILL before it could give the job back: another worker goes on from the last checkpoint."""
    job = interrupted(house, steady())

    first.signal(signal.SIGTERM)
    for pid in first.tree():
        os.kill(pid, signal.SIGKILL)
    first.process.wait()
    other.signal(signal.SIGCONT)
    ended = resumed(house, job)

    assert ended["attempt"] == 2
    assert "worker_lost" in reasons(ended)
    assert house.weights(ended) == undisturbed


def test_a_busy_worker_hoards_no_job(house: House, first: Part, other: Part, quick: dict[str, Any], steady: Steady):
    """With one worker busy, the next job starts on the idle one within two seconds."""
    long = house.client.submit(steady(epochs=2000))["id"]
    house.until_event(long, "epoch")
    assert first.trainers
    other.signal(signal.SIGCONT)
    until(lambda: house.beats("other", datetime.now().astimezone().timestamp() - 1), seconds=10)

    started = [_seconds_waited(house.run(quick, timeout=30)) for _ in range(3)]

    assert max(started) < 2
    assert house.client.get(long)["state"] == "running"
    house.client.cancel(long)
    assert house.client.wait(long, timeout=10)["state"] == "cancelled"


def _seconds_waited(job: dict[str, Any]) -> float:
    return (datetime.fromisoformat(job["started_at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()

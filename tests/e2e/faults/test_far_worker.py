"""A worker on another host: it reaches Valkey and S3 over a network whose packets vanish for a while, are half lost, or never come through again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.faults.history import look, orphans, violations
from tests.e2e.faults.house import House, Part, moments, running_house
from tests.e2e.faults.network import FarHost, far_host, why_not
from tests.e2e.stack import until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "")
LEASE = 9


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose stores are reached from a far host."""
    folder = tmp_path_factory.mktemp("far")
    settings = {"TRAINYARD_LEASE_SECONDS": str(LEASE), "TRAINYARD_PREFLIGHT_CHILDREN": "1"}
    with far_host() as host, running_house(folder, far=host, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def far(house: House) -> Part:
    """The worker over there: the same one for the whole file, whatever was done to its network."""
    return house.far_worker("far").start()


@pytest.fixture
def host(house: House, far: Part) -> Iterator[FarHost]:
    """The far host with a worker that lives, healed at the end."""
    assert house.far is not None
    assert far.alive
    yield house.far
    house.far.heal()


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    """A job of two seconds or so, with Dropout and BatchNorm, and a checkpoint every fortieth step."""
    layers = ["Flatten", {"type": "Linear", "out_features": 16}, "BatchNorm1d", "ReLU", {"type": "Dropout", "p": 0.2}]
    return {
        "seed": 5,
        "dataset": {"type": "Digits", "limit": 200},
        "dataloader": {"batch_size": 20},
        "model": {"type": "Sequential", "layers": [*layers, {"type": "Linear", "out_features": 10}]},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "Adam", "lr": 0.01},
        "epochs": 80,
        "checkpoint": {"every_n_steps": 40, "keep_last": 2},
    }


@pytest.fixture(scope="module")
def undisturbed(house: House, far: Part, spec: dict[str, Any]) -> bytes:
    """The weights that the job has when nothing happens."""
    assert far.alive
    return house.weights(house.run(spec, timeout=120))


def test_a_cut_shorter_than_the_lease_costs_nothing(house: House, host: FarHost, undisturbed: bytes, spec: dict[str, Any]):
    """The same attempt goes on, to equal weights, and every fact arrives."""
    job = house.client.submit(spec)["id"]
    house.until_event(job, "checkpoint")

    host.cut(host.valkey, host.s3)
    _pass(LEASE / 3)
    host.heal()

    _ended_as_if_nothing_had_happened(house, job, undisturbed, spec)


@pytest.mark.long
@pytest.mark.parametrize("gone", ["valkey", "s3"])
def test_half_a_cut_keeps_what_was_done(house: House, host: FarHost, undisturbed: bytes, spec: dict[str, Any], gone: str):
    """One store answers, the other does not: facts or files wait, and then all of them are there."""
    job = house.client.submit(spec)["id"]
    house.until_event(job, "epoch")

    host.cut(getattr(host, gone))
    _pass(LEASE / 3 if gone == "valkey" else LEASE + 3)  # the lease is Valkey's alone
    host.heal()

    _ended_as_if_nothing_had_happened(house, job, undisturbed, spec)


def test_a_worker_that_is_cut_off_is_replaced_and_fenced(house: House, host: FarHost, far: Part, undisturbed: bytes, spec: dict[str, Any]):
    """Longer than its lease: another worker goes on. Healed it kills its trainer, makes nothing current, and takes the next job."""
    job = house.client.submit(spec | {"epochs": 20_000})["id"]
    house.until_event(job, "checkpoint")
    near = house.worker("near").start()
    owner = house.redis.hget(f"ty:job:{job}", "owner")

    host.cut(host.valkey, host.s3)
    cut_at = time.monotonic()
    until(lambda: house.client.get(job)["attempt"] == 2, seconds=LEASE + 20)
    replaced = time.monotonic() - cut_at
    step = house.client.get(job)["progress"]["step"]
    until(lambda: house.client.get(job)["progress"]["step"] > step, seconds=30)
    training = far.trainers
    host.heal()
    healed_at = time.monotonic()
    until(lambda: far.trainers == [], seconds=40)
    fenced = time.monotonic() - healed_at
    house.client.cancel(job)
    house.client.wait(job, timeout=30)
    near.stop()
    again_at = time.monotonic()
    again = house.run(spec, timeout=90)
    took = time.monotonic() - again_at

    print(f"replaced {replaced:.1f} s after the cut, its trainer gone {fenced:.1f} s after the heal; the next job took {took:.1f} s")
    assert owner == "far"
    assert len(training) == 1  # it trained on, all the time
    assert replaced > LEASE - 2
    assert (again["state"], again["attempt"]) == ("succeeded", 1)
    assert house.weights(again) == undisturbed
    written = [moment["by"] for moment in moments(house.redis, job) if moment["kind"] == "checkpoint"]
    assert written == sorted(written)
    until(lambda: orphans(house, look(house, [job])) == [], seconds=10 * LEASE + 30)
    assert violations(look(house, [each["id"] for each in house.client.jobs()])) == []


@pytest.mark.long
def test_what_a_cut_off_worker_finished_meanwhile_does_not_count(house: House, host: FarHost, undisturbed: bytes, spec: dict[str, Any]):
    """It trains to the end and can tell nobody; another worker goes on from the last checkpoint that was committed, to the same weights."""
    job = house.client.submit(spec)["id"]
    house.until_event(job, "checkpoint")

    host.cut(host.valkey, host.s3)
    near = house.worker("near").start()
    ended = house.client.wait(job, timeout=120)
    host.heal()
    near.stop()

    assert (ended["state"], ended["attempt"], ended["reason"]) == ("succeeded", 2, None)
    assert house.weights(ended) == undisturbed
    assert [row["epoch"] for row in house.client.metrics(job)] == list(range(1, spec["epochs"] + 1))
    until(lambda: orphans(house, look(house, [job])) == [], seconds=10 * LEASE + 60)
    again = house.client.submit(spec)["id"]
    _ended_as_if_nothing_had_happened(house, again, undisturbed, spec)


@pytest.mark.long
def test_connections_that_a_firewall_forgot_are_opened_anew(house: House, host: FarHost, undisturbed: bytes, spec: dict[str, Any]):
    """Packets of old connections vanish for good and nobody says so; left to TCP that would show after a quarter of an hour."""
    forgotten = host.forget_connections()
    began = time.monotonic()
    job = house.client.submit(spec)["id"]
    _ended_as_if_nothing_had_happened(house, job, undisturbed, spec, seconds=100)
    took = time.monotonic() - began

    print(f"{forgotten} connections were forgotten; the next job ended {took:.1f} s later")
    assert forgotten >= 2
    assert took < 70  # boto3 alone would wait a minute for an answer, and longer where more than one connection is dead


def test_a_worker_that_is_cut_off_can_be_stopped(host: FarHost, far: Part):
    """It has nobody to say goodbye to, and does not wait for one."""
    host.cut(host.valkey, host.s3)

    far.signal(signal.SIGTERM)

    until(lambda: not far.alive, seconds=60)
    assert far.process.returncode == 0


def _ended_as_if_nothing_had_happened(house: House, job_id: str, undisturbed: bytes, spec: dict[str, Any], *, seconds: float = 120) -> None:
    """One attempt, the same weights, every epoch told."""
    job = house.client.wait(job_id, timeout=seconds)
    assert (job["state"], job["attempt"], job["retries"]) == ("succeeded", 1, 0)
    assert house.weights(job) == undisturbed
    assert [row["epoch"] for row in house.client.metrics(job_id)] == list(range(1, spec["epochs"] + 1))


def _pass(seconds: float) -> None:
    """Time that is itself what is tested."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, seconds=seconds + 5)

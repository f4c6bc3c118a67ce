"""Valkey and the doorbell in it: messages lost and doubled, restarts, a log cut short, a server that hangs."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.adapters.celery_doorbell import CeleryDoorbell, celery_app
from service.client.errors import Unreachable
from tests.e2e.faults.history import look, violations
from tests.e2e.faults.house import House, Part, moments
from tests.e2e.faults.proxy import LoseReply, Pass, Refuse
from tests.e2e.stack import until

LEASE_SECONDS = 2


@pytest.fixture(scope="module")
def workers(house: House) -> list[Part]:
    """Two of them."""
    return [house.worker(name).start() for name in ("one", "two")]


@pytest.fixture(autouse=True)
def calm(house: House, workers: list[Part]) -> Iterator[None]:
    """Everything runs before a test, and no harm is done after it."""
    assert all(worker.alive for worker in workers)
    yield
    house.to_valkey.set(Pass())


@pytest.fixture
def steady(quick: dict[str, Any]) -> dict[str, Any]:
    """A job of some seconds, a checkpoint every twenty steps."""
    return quick | {"epochs": 150, "checkpoint": {"every_n_steps": 20, "keep_last": 2}}


@pytest.fixture
def undisturbed(house: House, workers: list[Part], steady: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The steady job's model when nothing happens; trained once."""
    kept = tmp_path_factory.getbasetemp() / "steady-150"
    if not kept.exists():
        assert workers
        kept.write_bytes(house.weights(house.run(steady)))
    return kept.read_bytes()


def claims(house: House, job: str) -> list[str]:
    """The tokens of the job's attempts."""
    return list(dict.fromkeys(moment["token"] for moment in moments(house.redis, job) if moment.get("state") == "running"))


def test_a_ring_that_is_lost_on_its_way_is_rung_again(house: House, quick: dict[str, Any]):
    """Valkey hands every message out and no worker ever gets one: the job waits for a ring that arrives, no longer."""
    house.to_valkey.set(LoseReply(request="BRPOP"))
    house.to_valkey.cut()  # nobody has asked before
    before = _rings(house)
    job = house.client.submit(quick)["id"]
    until(lambda: _rings(house) >= before + 3 and house.redis.llen("ty-bell:cpu") == 0, seconds=30)
    lost = house.client.get(job)["state"]

    house.to_valkey.set(Pass())
    ended = house.client.wait(job, timeout=30)

    assert lost == "queued"
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)


def _rings(house: House) -> int:
    """Messages that were ever sent."""
    return int(house.redis.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0))


def test_rings_too_many_change_nothing(house: House, quick: dict[str, Any]):
    """Ten rings for one job, and ten more while it runs and a worker is idle: one claim."""
    bell = CeleryDoorbell(celery_app(f"redis://127.0.0.1:{house.to_valkey.target}/0"))
    bell.ring("cpu", times=10)
    job = house.client.submit(quick | {"epochs": 20_000, "checkpoint": {}})["id"]
    house.until_event(job, "epoch")

    bell.ring("cpu", times=10)
    until(lambda: house.redis.llen("ty-bell:cpu") == 0, seconds=20)
    house.client.cancel(job)
    ended = house.client.wait(job, timeout=20)

    assert ended["attempt"] == 1
    assert len(claims(house, job)) == 1
    assert house.run(quick)["state"] == "succeeded"


def test_training_goes_on_while_valkey_is_away(house: House, steady: dict[str, Any], undisturbed: bytes):
    """Restarted, and then dead for two leases: the same attempt renews with the same token, and nobody takes its job."""
    job = house.client.submit(steady)["id"]
    house.until_event(job, "checkpoint")

    house.valkey.stop()
    house.valkey.start()
    house.valkey.kill()
    threading.Event().wait(2 * LEASE_SECONDS)  # time itself is the fault here
    house.valkey.start()
    ended = house.client.wait(job, timeout=60)

    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert [row["epoch"] for row in house.client.metrics(job)] == list(range(1, 151))
    assert house.weights(ended) == undisturbed


def test_no_acknowledged_job_is_lost_with_valkey(house: House, workers: list[Part], quick: dict[str, Any]):
    """Kill -9 while a dozen are submitted: whoever had an answer finds the job, whoever had none gets one by asking again."""
    answered: dict[str, str] = {}

    def submit(key: str) -> None:
        answered[key] = house.client.submit(quick | {"epochs": 1}, idempotency_key=key)["id"]

    def dies(key: str) -> None:
        try:
            submit(key)
        except Unreachable:
            answered.pop(key, None)

    keys = [f"lost-{number}" for number in range(12)]
    with workers[0].frozen(), workers[1].frozen(), ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(dies, key) for key in keys]
        until(lambda: len(answered) >= 4, seconds=30)
        house.valkey.kill()
        before = dict(answered)
        house.valkey.start()
        for each in pending:
            each.result()
        found = {key: house.client.get(id)["id"] for key, id in before.items()}
    for key in keys:
        submit(key)
    ended = [house.client.wait(id, timeout=60)["state"] for id in answered.values()]

    assert found == before
    assert before.items() <= answered.items()
    assert len(set(answered.values())) == len(keys)
    assert ended == ["succeeded"] * len(keys)


def test_a_log_that_lost_its_tail_gives_no_token_twice(house: House, steady: dict[str, Any], undisturbed: bytes):
    """Valkey forgets a claim: the attempt that it forgot is fenced off, the next one has a larger token, the model is the same."""
    log = next((house.folder / "valkey" / "appendonlydir").glob("*.incr.aof"))
    job = house.client.submit(steady)["id"]
    house.until_event(job, "checkpoint")
    [forgotten] = claims(house, job)

    house.valkey.kill()
    os.truncate(log, _claimed_at(log, job))
    house.valkey.start()
    ended = house.client.wait(job, timeout=60)

    tokens = claims(house, job)
    assert ended["state"] == "succeeded", ended["error"]
    assert forgotten not in tokens
    assert int(tokens[0]) > int(forgotten)
    assert house.weights(ended) == undisturbed
    assert [fault for fault in violations(look(house, [job])) if "nobody was told" not in fault] == []


def _claimed_at(log: Path, job: str) -> int:
    """Where in the log the job gets its first lease: inside the call that claims it."""
    lease = re.search(rb"ty:leases\r\n\$\d+\r\n\d+\r\n\$\d+\r\n" + job.encode(), log.read_bytes())
    assert lease is not None
    return lease.start()


def test_a_worker_that_is_told_to_end_does_not_wait_for_valkey_for_ever(
    house: House, workers: list[Part], steady: dict[str, Any], undisturbed: bytes
):
    """Not longer than a lease; then it is gone, with its trainer, and another worker takes the job as soon as there is a Valkey again."""
    with workers[0].frozen(), workers[1].frozen():
        third = house.worker("three").start()
        job = house.client.submit(steady)["id"]
        house.until_event(job, "checkpoint")
        tree = third.tree()

        house.to_valkey.set(Refuse())
        house.to_valkey.cut()
        assert third.process is not None
        third.signal(signal.SIGTERM)
        assert third.process.wait(LEASE_SECONDS + 20) == 1
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in tree), seconds=10)

        house.to_valkey.set(Pass())
    ended = house.client.wait(job, timeout=60)

    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert house.weights(ended) == undisturbed


def test_a_valkey_that_hangs_holds_nobody_up_for_long(house: House, quick: dict[str, Any]):
    """A caller hears 503 within three seconds, thirty at once do not queue behind each other, and afterwards all is well."""
    house.client.submit(quick)
    with house.valkey.frozen(), ThreadPoolExecutor(30) as pool:
        began = time.monotonic()
        answers = [_asked(house)]
        alone = time.monotonic() - began
        answers += pool.map(lambda _: _asked(house), range(30))
        together = time.monotonic() - began - alone

    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert alone < 3
    assert together < 8  # one second each, beside each other; the rest is thirty threads on a busy machine
    assert house.run(quick)["state"] == "succeeded"


def _asked(house: House) -> httpx2.Response:
    return httpx2.get(f"{house.client.url}/v1/jobs", timeout=60, trust_env=False)

"""A worker that is connected but hears nothing ends, to be started again; one that hears, or is busy, does not."""

from __future__ import annotations

from typing import Any

from tests.e2e.faults.house import House
from tests.e2e.faults.proxy import LoseReply, Pass
from worker.main import DEAF


def test_a_worker_that_no_ring_reaches_ends(house: House, quick: dict[str, Any]):
    """Every ring is taken from the queue and lost on its way: the worker notices, and its exit code says so; the next one does the work."""
    deaf = house.worker("deaf", TRAINYARD_DEAF_SECONDS="2").start()

    house.to_valkey.set(LoseReply(request="BRPOP"))
    code = deaf.process.wait(60)
    house.to_valkey.set(Pass())

    assert code == DEAF
    hearing = house.worker("hearing", TRAINYARD_DEAF_SECONDS="2").start()
    assert house.run(quick)["state"] == "succeeded"
    hearing.stop()


def test_a_busy_worker_need_not_hear(house: House, quick: dict[str, Any]):
    """A job that takes longer than the limit is not disturbed, and its worker lives on, idle, after it."""
    worker = house.worker("busy", TRAINYARD_DEAF_SECONDS="1").start()

    job = house.run(quick | {"epochs": 80}, timeout=120)
    again = house.run(quick)

    assert [(each["state"], each["attempt"]) for each in (job, again)] == [("succeeded", 1)] * 2
    assert worker.alive
    worker.stop()
    assert worker.process.returncode == 0
    assert [key for key in house.redis.keys("ty-bell:*") if "own-busy" in key] == []

"""Redis lost altogether: every record comes back from storage, and unfinished jobs run again from their newest checkpoint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.faults.house import House, running_house
from tests.e2e.stack import ROOT, until


@pytest.fixture
def own_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Parts that nobody shares: their Valkey is wiped."""
    with running_house(tmp_path_factory.mktemp("own"), TRAINYARD_PREFLIGHT_CHILDREN="1") as running:
        yield running


def rebuild(house: House) -> str:
    """What `trainyard rebuild` says."""
    command = [sys.executable, "-m", "service.client.cli", "rebuild"]
    done = subprocess.run(command, cwd=ROOT, env=house.environment, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def test_a_lost_redis_is_rebuilt_from_storage(own_house: House, quick: dict[str, Any]):
    """An ended job as it was, a running and a waiting one run to the weights of an undisturbed run, a paused one stays so, a deleted one stays gone."""
    house = own_house
    worker = house.worker("first").start()
    spec = quick | {"epochs": 600, "checkpoint": {"every_n_epochs": 30}}
    ended = house.run(spec)
    reference = house.weights(ended)
    gone = house.run(quick)["id"]
    house.client.delete(gone)
    running = house.client.submit(spec)["id"]
    house.until_event(running, "checkpoint")
    waiting, paused = (house.client.submit(spec | {"seed": 9})["id"] for _ in range(2))
    house.client.pause(paused)
    until(lambda: house.redis.zcard("ty:unsaved") == 0 and house.keys(f"projects/default/jobs/{gone}/") == [], seconds=30)

    house.valkey.kill()
    for file in (house.folder / "valkey").rglob("*"):
        if file.is_file():
            file.unlink()
    worker.kill()
    house.valkey.start()
    assert "4 job(s) restored, 0 were here already" in rebuild(house)
    assert "0 job(s) restored, 4 were here already" in rebuild(house)

    restored = house.client.get(ended["id"])
    assert {**restored, "links": None} == {**house.client.get(ended["id"]), "links": None}
    same = ("state", "metrics", "transitions", "resolved_spec", "warnings", "created_at", "finished_at", "attempt", "exact")
    assert {name: restored.get(name) for name in same} == {name: ended.get(name) for name in same}
    assert [row["epoch"] for row in house.client.metrics(ended["id"])] == list(range(1, 601))
    assert house.client.logs(ended["id"])
    assert house.weights(restored) == reference
    assert house.client.get(paused)["state"] == "paused"

    house.worker("second").start()
    again = house.client.wait(running, timeout=120)
    assert (again["state"], again["attempt"]) == ("succeeded", 2)
    assert "resuming after step" in house.client.logs(running)
    assert [row["epoch"] for row in house.client.metrics(running)] == list(range(1, 601))
    assert house.weights(again) == reference
    assert house.client.wait(waiting, timeout=120)["state"] == "succeeded"
    assert {row["id"] for row in house.client.page()["data"]} == {ended["id"], running, waiting, paused}

"""Everything lost, Redis and storage: a backup that was made while jobs ran brings all of it back, into the same place or into a new data folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.client.sdk import Client
from service.local import free_port, wait_for_port
from tests.e2e.faults.house import House, running_house
from tests.e2e.stack import ROOT, end, until


@pytest.fixture
def own_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Parts that nobody shares: their disks are wiped."""
    with running_house(tmp_path_factory.mktemp("own"), TRAINYARD_PREFLIGHT_CHILDREN="1") as running:
        yield running


def trainyard(house: House, *words: str, status: int = 0) -> str:
    """What a command says on stdout, and on stderr where it is to fail."""
    command = [sys.executable, "-m", "service.client.cli", *words]
    done = subprocess.run(command, cwd=ROOT, env=house.environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def wipe(house: House) -> None:
    """Both disks, as after a fire."""
    for part, folder in ((house.valkey, "valkey"), (house.s3, "objects")):
        part.kill()
        shutil.rmtree(house.folder / folder)
        (house.folder / folder).mkdir()
        part.start()
    house.redis.ping()


def test_all_that_was_lost_comes_back_from_a_backup(own_house: House, quick: dict[str, Any], tmp_path: Path):
    """Ended, running, waiting, paused and deleted jobs, and a data set; unfinished ones run to the weights of an undisturbed run."""
    house, shelf = own_house, tmp_path / "backups"
    worker = house.worker("first").start()
    np.savez(tmp_path / "digits.npz", x=np.zeros((20, 8, 8), dtype=np.uint8), y=np.arange(20) % 2)
    version = house.client.push("twos", tmp_path / "digits.npz")["version"]
    house.client.wait_dataset("twos", version, timeout=60)
    spec = quick | {"epochs": 300, "checkpoint": {"every_n_epochs": 15}}
    ended = house.run(spec, timeout=120)
    reference = house.weights(ended)
    gone = house.run(quick)["id"]
    house.client.delete(gone)
    until(lambda: house.keys(f"projects/default/jobs/{gone}/") == [], seconds=30)
    running = house.client.submit(spec)["id"]
    house.until_event(running, "checkpoint")
    waiting, paused = (house.client.submit(quick | {"seed": 9})["id"] for _ in range(2))
    house.client.pause(paused)

    assert "object(s)" in trainyard(house, "backup", str(shelf))
    assert house.client.get(running)["state"] == "running"
    worker.kill()
    assert "is not empty" in trainyard(house, "restore", str(shelf), status=1)
    wipe(house)
    assert house.client.page()["data"] == []
    assert "1 backup(s) read, 0 of them damaged" in trainyard(house, "backup", str(shelf), "--verify")
    assert "5 record(s) restored, 0 were here already" in trainyard(house, "restore", str(shelf))

    restored = house.client.get(ended["id"])
    same = ("state", "metrics", "transitions", "resolved_spec", "warnings", "created_at", "finished_at", "attempt", "exactness")
    assert {name: restored[name] for name in same} == {name: ended[name] for name in same}
    assert [row["epoch"] for row in house.client.metrics(ended["id"])] == list(range(1, 301))
    assert house.client.logs(ended["id"])
    assert house.weights(restored) == reference
    assert house.client.get(paused)["state"] == "paused"
    assert [each["state"] for each in house.client.datasets()] == ["ready"]
    assert {row["id"] for row in house.client.page()["data"]} == {ended["id"], running, waiting, paused}

    house.worker("second").start()
    again = house.client.wait(running, timeout=120)
    assert (again["state"], again["attempt"]) == ("succeeded", 2)
    assert "resuming after step" in house.client.logs(running)
    assert [row["epoch"] for row in house.client.metrics(running)] == list(range(1, 301))
    assert house.weights(again) == reference
    assert house.client.wait(waiting, timeout=120)["state"] == "succeeded"


def test_commands_find_the_stores_of_a_data_folder_while_it_serves_and_while_not(house: House, quick: dict[str, Any], tmp_path: Path):
    """A backup of other stores moves into a new folder of `trainyard up`, which then serves it; rebuild and backup reach it before and meanwhile."""
    house.worker("w").start()
    ended, shelf = house.run(quick), tmp_path / "backups"
    trainyard(house, "backup", str(shelf))

    data_dir = str(tmp_path / "data")
    assert "1 record(s) restored" in trainyard(house, "restore", str(shelf), "--data-dir", data_dir)
    assert "0 job(s) restored, 1 were here already" in trainyard(house, "rebuild", "--data-dir", data_dir)
    port = free_port()
    up = [sys.executable, "-m", "service.client.cli", "up", "--port", str(port), "--data-dir", data_dir]
    with (tmp_path / "up.log").open("wb") as log:
        serving = subprocess.Popen(up, cwd=ROOT, env=house.environment, stdout=log, stderr=log)
    try:
        wait_for_port(port, seconds=60, alive=lambda: serving.poll() is None)
        with Client(f"http://127.0.0.1:{port}") as client:
            assert client.get(ended["id"])["state"] == "succeeded"
        assert "0 job(s) restored, 1 were here already" in trainyard(house, "rebuild", "--data-dir", data_dir)
        assert "object(s)" in trainyard(house, "backup", str(tmp_path / "second"), "--data-dir", data_dir)
    finally:
        end(serving)
    assert not (tmp_path / "data" / "running.json").exists()

"""A worker that stands still for longer than its lease, and comes back: it owns nothing any more, and spoils nothing."""

from __future__ import annotations

import signal
from datetime import datetime
from typing import Any

from tests.e2e.faults.history import look, orphans, violations
from tests.e2e.faults.house import House, moments
from tests.e2e.stack import until


def steady(quick: dict[str, Any]) -> dict[str, Any]:
    """A job of some seconds, with a checkpoint every twenty steps."""
    return quick | {"epochs": 60, "checkpoint": {"every_n_steps": 20, "keep_last": 2}}


def test_a_worker_that_slept_over_its_lease_is_fenced_off(house: House, quick: dict[str, Any]):
    """Another one takes the job; the sleeper wakes, kills its trainer and changes nothing; what it wrote late is removed."""
    sleeper = house.worker("sleeper").start()
    undisturbed = house.run(steady(quick))
    job = house.client.submit(steady(quick))["id"]
    house.until_event(job, "checkpoint")

    with sleeper.frozen():  # its trainer trains on
        other = house.worker("other").start()
        until(lambda: house.client.get(job)["attempt"] == 2, seconds=30)
        house.until_event(job, "epoch")
    ended = house.client.wait(job, timeout=90)

    assert (ended["state"], ended["attempt"], ended["reason"]) == ("succeeded", 2, None)
    assert house.weights(ended) == house.weights(undisturbed)
    assert [row["epoch"] for row in house.client.metrics(job)] == list(range(1, 61))
    until(lambda: sleeper.trainers == [], seconds=20)
    history = moments(house.redis, job)
    first, second = (moment["token"] for moment in history if moment["kind"] == "state" and moment["state"] == "running")
    commits = [moment["by"] for moment in history if moment["kind"] == "checkpoint"]
    assert commits == sorted(commits)
    until(lambda: orphans(house, look(house, [job])) == [], seconds=40)
    assert violations(look(house, [undisturbed["id"], job])) == []
    assert {key.split("/")[5] for key in house.keys(f"projects/default/jobs/{job}/attempts/")} <= {first, second}
    for worker in (sleeper, other):
        worker.stop()


def test_a_killed_worker_is_replaced_within_its_lease_and_a_drained_one_at_once(house: House, quick: dict[str, Any]):
    """Kill -9: running again within the lease and 15 s. SIGTERM: within five seconds. No step that a checkpoint covered is done again."""
    workers = {name: house.worker(name).start() for name in ("one", "two", "three")}
    job = house.client.submit(steady(quick) | {"epochs": 2000})["id"]
    house.until_event(job, "checkpoint")

    workers[_owner(house, job)].kill()
    until(lambda: house.client.get(job)["attempt"] == 2, seconds=2 + 15)
    _step(house, job, beyond=house.client.get(job)["progress"]["step"])
    workers[_owner(house, job)].signal(signal.SIGTERM)
    until(lambda: house.client.get(job)["attempt"] == 3, seconds=20)
    ended = house.client.get(job)
    _step(house, job, beyond=ended["progress"]["step"])

    took = _seconds(ended, "drained")
    print(f"running again {_seconds(ended, 'worker_lost'):.1f} s after it was given back for a kill, {took:.1f} s after a drain")
    assert took < 5
    house.client.cancel(job)
    house.client.wait(job, timeout=20)
    resumes = [line for line in house.client.logs(job).splitlines() if "resuming after step" in line]
    committed = [int(moment["step"]) for moment in moments(house.redis, job) if moment["kind"] == "checkpoint"]
    assert len(resumes) == 2
    assert all(int(line.rsplit(" ", 1)[1]) in committed for line in resumes)
    for worker in workers.values():
        worker.stop()


def _owner(house: House, job_id: str) -> str:
    return house.redis.hget(f"ty:job:{job_id}", "owner") or ""


def _step(house: House, job_id: str, *, beyond: int) -> None:
    until(lambda: house.client.get(job_id)["progress"]["step"] > beyond, seconds=30)


def _seconds(job: dict[str, Any], reason: str) -> float:
    """From being given back for a reason to running again."""
    moves = job["transitions"]
    at = next(at for at, move in enumerate(moves) if move["reason"] == reason)
    return (datetime.fromisoformat(moves[at + 1]["at"]) - datetime.fromisoformat(moves[at]["at"])).total_seconds()

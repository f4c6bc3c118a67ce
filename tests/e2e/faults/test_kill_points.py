"""A process killed at every named point in turn, and started again: one job, every row once, the very same model."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.killpoints import KILL_AT, KILL_ONCE, KillPoint
from tests.e2e.faults.house import House, Part
from tests.e2e.stack import ROOT, until

API = (KillPoint.BEFORE_SUBMIT, KillPoint.AFTER_SUBMIT, KillPoint.BEFORE_RING, KillPoint.RECORD_PUT)
TRAINER = (
    KillPoint.FIRST_EPOCH_STEP,
    KillPoint.LATER_EPOCH_STEP,
    KillPoint.CHECKPOINT_HALF_WRITTEN,
    KillPoint.CHECKPOINT_WRITTEN,
    KillPoint.EXPORTING,
)
WORKER = (
    KillPoint.CLAIMED,
    KillPoint.TRAINER_STARTED,
    KillPoint.CHECKPOINT_TOLD,
    KillPoint.CHECKPOINT_FILES_PUT,
    KillPoint.CHECKPOINT_MANIFEST_PUT,
    KillPoint.CHECKPOINT_COMMITTED,
    KillPoint.BEFORE_DROP,
    KillPoint.BEFORE_ARTIFACTS,
    KillPoint.ARTIFACTS_FILES_PUT,
    KillPoint.ARTIFACTS_MANIFEST_PUT,
    KillPoint.FINISHED,
)


def test_every_point_has_a_case():
    """No point is left that nobody dies at."""
    assert sorted(API + TRAINER + WORKER) == sorted(KillPoint)


@pytest.mark.parametrize("module", ["service.main", "worker.main"])
def test_a_point_that_there_is_not_is_refused(module: str):
    """One line that names the variable and the points; no traceback."""
    armed = {KILL_AT: "nowhere", KILL_ONCE: "/dev/null"}

    done = subprocess.run([sys.executable, "-m", module], env=armed, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert KILL_AT in done.stderr
    assert KillPoint.CLAIMED in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def bystander(house: House) -> Part:
    """A worker that nothing happens to. Its sweeper is slow, so that the API's does the work."""
    return house.worker("bystander", TRAINYARD_SWEEP_SECONDS="5").start()


@pytest.fixture
def undisturbed(house: House, bystander: Part, quick: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The model that the job gives when nothing happens; trained once."""
    kept = tmp_path_factory.getbasetemp() / "undisturbed"
    if not kept.exists():
        assert bystander.alive
        job = house.run(quick)
        assert (job["state"], job["attempt"]) == ("succeeded", 1)
        kept.write_bytes(house.weights(job))
    return kept.read_bytes()


def armed(point: KillPoint, folder: Path) -> dict[str, str]:
    return {KILL_AT: point, KILL_ONCE: str(folder / f"died-{point}")}


def victims(house: House, points: Sequence[KillPoint], folder: Path) -> list[Part]:
    """Workers that are to die, themselves or their trainers, each at a point of its own."""
    workers = [house.worker(f"dies-{point}", **armed(point, folder)) for point in points]
    begun = [worker.launch() for worker in workers]
    until(lambda: all(worker.ready(since) for worker, since in zip(workers, begun, strict=True)), seconds=90)
    return workers


def whole(house: House, job: dict[str, Any]) -> tuple[str, list[int], bytes]:
    """What has to be the same whatever happened: how it ended, its rows, its model."""
    return job["state"], [row["epoch"] for row in house.client.metrics(job["id"])], house.weights(job)


def asked(house: House, spec: dict[str, Any]) -> None:
    """Once more for the same job; who is asked may not listen yet, be busy, or die of it."""
    with suppress(httpx2.TransportError):
        httpx2.post(f"{house.client.url}/v1/jobs", json=spec, headers={"Idempotency-Key": "one"}, timeout=30, trust_env=False)


def dies(house: House, point: KillPoint, spec: dict[str, Any], folder: Path) -> int:
    """The end of an API that is to die at the point, its clients or its own sweeper leading it there."""
    house.api.kill()
    house.api.environment = house.environment | armed(point, folder)
    house.api.launch()
    until(lambda: not house.api.alive or asked(house, spec), seconds=120)
    return house.api.process.wait()


def test_an_api_that_dies_at_every_point_makes_one_job(
    house: House, undisturbed: bytes, bystander: Part, quick: dict[str, Any], tmp_path: Path
):
    """Asked again and again with one Idempotency-Key, started again after each death: one job, run once, and it ends well."""
    spec = quick | {"name": "one"}

    died = [dies(house, API[0], spec, tmp_path)]
    with bystander.frozen():  # still known as idle, so that there is somebody to ring for, and yet takes nothing
        died += [dies(house, point, spec, tmp_path) for point in API[1:]]
    house.api.start()
    job = house.client.wait(house.client.submit(spec, idempotency_key="one")["id"], timeout=60)

    assert died == [-signal.SIGKILL] * len(API)
    assert [each["id"] for each in house.client.page(name="one")["data"]] == [job["id"]]
    assert whole(house, job) == ("succeeded", [1, 2, 3], undisturbed)
    assert job["attempt"] == 1


@pytest.mark.parametrize("points", [WORKER[:4], WORKER[4:8], WORKER[8:]], ids=["claim to files", "commit to results", "the end"])
def test_a_worker_that_dies_costs_nothing(
    house: House, undisturbed: bytes, bystander: Part, quick: dict[str, Any], points: Sequence[KillPoint], tmp_path: Path
):
    """Each of these workers takes one job and dies at its point; another worker ends that job, in one attempt more unless it had ended."""
    workers = victims(house, points, tmp_path)

    with bystander.frozen():
        jobs = [house.client.submit(quick, idempotency_key=point)["id"] for point in points]
        died = [worker.process.wait(60) for worker in workers]
    again = [house.client.submit(quick, idempotency_key=point)["id"] for point in points]
    ended = [house.client.wait(job, timeout=60) for job in jobs]

    assert died == [-signal.SIGKILL] * len(points)
    assert again == jobs
    assert [whole(house, job) for job in ended] == [("succeeded", [1, 2, 3], undisturbed)] * len(points)
    assert sorted(job["attempt"] for job in ended) == sorted(1 if point is KillPoint.FINISHED else 2 for point in points)


def test_a_trainer_that_dies_costs_nothing(house: House, undisturbed: bytes, bystander: Part, quick: dict[str, Any], tmp_path: Path):
    """At each point a trainer dies, its worker lives, and the job runs again at once."""
    workers = victims(house, TRAINER, tmp_path)

    with bystander.frozen():
        jobs = [house.client.submit(quick)["id"] for _ in TRAINER]
        ended = [house.client.wait(job, timeout=60) for job in jobs]
        while len(ended) < 2 * len(TRAINER) and not all((tmp_path / f"died-{point}").exists() for point in TRAINER):
            ended.append(house.run(quick))  # a fast worker may have taken two jobs, and a slow one none

    assert [point for point in TRAINER if not (tmp_path / f"died-{point}").exists()] == []
    assert all(worker.alive for worker in workers)
    assert [whole(house, job) for job in ended] == [("succeeded", [1, 2, 3], undisturbed)] * len(ended)
    assert sum(job["attempt"] for job in ended) == len(ended) + len(TRAINER)
    assert {step["reason"] for job in ended for step in job["transitions"]} >= {"trainer_lost"}
    for worker in workers:
        worker.kill()

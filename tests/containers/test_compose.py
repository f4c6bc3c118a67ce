"""The journey of a job through containers, asked from outside."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from service.client.sdk import Client
from service.spec.job import read_spec
from tests.containers.composed import Composed, docker
from tests.containers.conftest import DATA, LONG, MLP
from tests.e2e.stack import until

pytestmark = pytest.mark.timeout(1800)


def test_the_textbooks_job_trains_in_containers(composed: Composed, elsewhere: dict[int, str], tmp_path: Path):
    """POST, poll, fetch with the printed key; the model scores what the job reported, and is bit for bit the one of `trainyard up`."""
    job, digest = composed.ends(composed.client.submit(MLP)["id"], tmp_path)

    folder = tmp_path / job["id"]
    model = nn.Sequential(nn.Flatten(), nn.Linear(784 if DATA.exists() else 64, 128), nn.ReLU(), nn.Linear(128, 10))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    accuracy = score(model)
    assert accuracy == job["metrics"]["test_accuracy"] == json.loads((folder / "evaluation/metrics.json").read_text())["test_accuracy"]
    assert accuracy >= 0.9
    assert sha256((folder / "model.safetensors").read_bytes()).hexdigest() == digest == elsewhere[MLP["epochs"]]


def score(model: nn.Module) -> float:
    """The share of right answers on the test split."""
    from worker.training.loading import load_splits

    test = load_splits(read_spec(MLP), datasets_dir=DATA).test
    with torch.inference_mode():
        logits = torch.cat([model(images.float() * (1 / 255)) for images in test.images.split(512)])
    return (logits.argmax(1) == test.labels).sum().item() / len(test)


def test_without_the_key_nothing_is_told(composed: Composed):
    """401 and a problem, for reading and for submitting."""
    with httpx2.Client(base_url=composed.url(1), trust_env=False) as http:
        answers = [http.get("/v1/jobs"), http.post("/v1/jobs", json=MLP), http.get("/v1/jobs", headers={"Authorization": "Bearer nope"})]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)


def test_two_apis_and_three_workers(composed: Composed):
    """Scaled up: whoever is asked knows every job, and all workers are there."""
    composed.scale(api=2, worker_cpu=3)
    composed.until_workers(3)
    job = composed.client.submit(MLP)["id"]

    with Client(composed.url(2), composed.key) as other:
        assert composed.url(2) != composed.url(1)
        assert other.wait(job, timeout=600)["state"] == "succeeded"
    composed.scale(api=1, worker_cpu=3)


def test_a_killed_workers_job_goes_on_elsewhere(composed: Composed, elsewhere: dict[int, str], tmp_path: Path):
    """The container is gone in the middle: after its lease another one ends the job, with the same weights."""
    composed.scale(worker_cpu=2)
    composed.until_workers(2)
    job = composed.client.submit(LONG)["id"]
    composed.until_epoch(job, 2)
    first = composed.trains(job)

    docker("kill", first)
    ended, digest = composed.ends(job, tmp_path)

    assert (ended["attempt"], ended["retries"]) == (2, 1)
    assert "resuming after step" in composed.client.logs(job)
    assert digest == elsewhere[LONG["epochs"]]


def test_a_stopped_workers_job_is_handed_over(composed: Composed, elsewhere: dict[int, str], tmp_path: Path):
    """`docker stop`: gone by itself, within its grace period, and the job goes on after the very step that was its last."""
    composed.scale(worker_cpu=2)
    composed.until_workers(2)
    job = composed.client.submit(LONG)["id"]
    composed.until_epoch(job, 2)
    first = composed.trains(job)

    docker("stop", first)  # the grace period is the container's own
    state = json.loads(docker("inspect", first))[0]["State"]
    ended, digest = composed.ends(job, tmp_path)

    assert state["ExitCode"] == 0  # 137 would be the kill at the end of the grace period
    assert (ended["attempt"], ended["retries"]) == (2, 0)
    assert "drained" in [move["reason"] for move in ended["transitions"]]
    assert digest == elsewhere[LONG["epochs"]]


def test_stores_that_are_restarted_lose_nothing(composed: Composed, elsewhere: dict[int, str], tmp_path: Path):
    """Redis and storage, under a job: it ends as if nothing had been, and everything from before is there.

    Redis reads its log again as its default user; what that one may not do is left out there (7.0), so this holds its users, too.
    """
    composed.scale(worker_cpu=1)
    composed.until_workers(1)
    job = composed.client.submit(LONG)["id"]
    before = {each["id"] for each in composed.client.jobs()}
    composed.until_epoch(job, 2)

    composed.compose("restart", "redis", "minio")
    ended, digest = composed.ends(job, tmp_path)

    assert {each["id"] for each in composed.client.jobs()} == before
    assert (ended["attempt"], digest) == (1, elsewhere[LONG["epochs"]])


def test_every_part_says_that_it_is_well(composed: Composed):
    """Health checks: the API's readiness, a worker's fresh beat, Redis's answer."""
    for service in ("api", "worker-cpu", "redis"):
        container = composed.container(service)
        until(lambda container=container: health(container) == "healthy", seconds=60)


def health(container: str) -> str:
    """What its check said last."""
    return str(json.loads(docker("inspect", container))[0]["State"]["Health"]["Status"])

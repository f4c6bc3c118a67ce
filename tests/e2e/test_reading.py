"""What the API tells of jobs, as HTTP has it. Where no training is needed, the jobs are made by the store's own calls."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.adapters import redis_jobs
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.stores import Stores
from service.jobs.job import CheckpointPointer
from service.jobs.layout import checkpoint_prefix
from service.jobs.ports import Claim, Report
from tests.e2e.stack import Stack
from tests.integration.test_s3 import settings_for
from tests.servers import S3Server


@pytest.fixture
def stores(stack: Stack) -> Iterator[Stores]:
    """The store behind the API, for a test that plays the worker."""
    found = redis_jobs.connect(stack.environment["REDIS_URL"])
    yield found
    found.close()


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx2.Client]:
    """The API on an empty store, asked without the SDK."""
    with httpx2.Client(base_url=stack.client.url, timeout=30, trust_env=False) as client:
        yield client


def names(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["name"] for job in answer.json()["data"]]


def test_the_list_is_searched_and_sorted(http: httpx2.Client, stack: Stack, small: dict[str, Any]) -> None:
    """By text and by name, page after page; what cannot be sorted by, and a cursor of another order, is a 422."""
    for name in ("Cherry", "apple", "banana"):
        stack.client.submit(small | {"name": name, "labels": {"kind": "fruit"}})

    first = http.get("/v1/jobs", params={"sort": "name", "limit": 2})
    second = http.get("/v1/jobs", params={"sort": "name", "limit": 2, "cursor": first.json()["next_cursor"]})

    assert names(first) + names(second) == ["apple", "banana", "Cherry"]
    assert (second.json()["next_cursor"], second.json()["only_newest"]) == (None, None)
    assert names(http.get("/v1/jobs", params={"sort": "-name", "q": "AN"})) == ["banana"]
    assert len(names(http.get("/v1/jobs", params={"q": "digits"}))) == 3
    assert [job["name"] for job in stack.client.page(q="kind:fruit", sort="-name", limit=1)["data"]] == ["Cherry"]
    for wrong in ({"sort": "no key"}, {"sort": "-name", "cursor": "nonsense"}, {"q": "x" * 201}):
        refused = http.get("/v1/jobs", params=wrong)
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


def claimed(stack: Stack, body: dict[str, Any], stores: Stores) -> Claim:
    """A submitted job, taken by the test itself."""
    stack.client.submit(body)
    claim = stores.attempts.claim(worker="test", device="cpu")
    assert claim is not None
    return claim


def test_a_running_jobs_curve_is_read_step_by_step(http: httpx2.Client, stack: Stack, stores: Stores, small: dict[str, Any]) -> None:
    """All of it, what is new since a step, thinned, and as CSV; of a job without any, nothing."""
    claim = claimed(stack, small, stores)
    path, per_step = f"/v1/jobs/{claim.job.id}/metrics", {"per": "step"}
    assert http.get(path, params=per_step).json() == {"data": []}
    assert http.get(path, params=per_step | {"format": "csv"}).text == "step,epoch,train_loss,lr\r\n"
    losses = [1 / step for step in range(1, 5001)]
    losses[1234] = 7.5
    stores.facts.report(claim, Report(steps=[[step, 1, loss, 0.1] for step, loss in enumerate(losses, 1)]))
    stores.facts.report(claim, Report(steps=[[5001, 2, math.nan, 0.01]]))

    whole = http.get(path, params=per_step).json()["data"]
    thin = stack.client.steps(claim.job.id, points=100)
    new = stack.client.steps(claim.job.id, after=4999)

    assert [row["train_loss"] for row in whole] == [*losses, None]
    assert whole[0] == {"step": 1, "epoch": 1, "train_loss": 1.0, "lr": 0.1}
    assert len(thin) <= 100
    assert whole[1234] in thin
    assert new == whole[4999:]
    table = http.get(path, params=per_step, headers={"Accept": "text/csv"}).text.splitlines()
    assert (table[0], table[2], table[-1], len(table)) == ("step,epoch,train_loss,lr", "2,1,0.5,0.1", "5001,2,,0.01", 5002)
    for wrong in ({"per": "batch"}, {"points": 1}, {"after": -2}, {"format": "xml"}):
        assert http.get(path, params=wrong).status_code == 422
    assert http.get("/v1/jobs/nobody/metrics", params=per_step).status_code == 404


def test_rows_of_epochs_come_after_a_step_and_thinned(http: httpx2.Client, stack: Stack, stores: Stores, small: dict[str, Any]) -> None:
    """The best and the worst epoch by every metric are among them."""
    claim = claimed(stack, small, stores)
    path = f"/v1/jobs/{claim.job.id}/metrics"
    for epoch in range(1, 101):
        row = {"epoch": epoch, "step": 10 * epoch, "at": 1.0 * epoch, "train_loss": 1 / epoch, "val_loss": abs(epoch - 37) + 0.5}
        stores.facts.report(claim, Report(row=row))

    thin = http.get(path, params={"points": 12}).json()["data"]

    assert len(thin) <= 12
    assert {1, 37, 100} <= {row["epoch"] for row in thin}
    assert [row["epoch"] for row in http.get(path, params={"after": 970}).json()["data"]] == [98, 99, 100]
    assert len(http.get(path).json()["data"]) == 100


def test_a_trained_jobs_steps_are_the_same_live_and_taken_home(stack: Stack, small: dict[str, Any], tmp_path: Path) -> None:
    """Over the attempts of a job that was paused: each step once, in order; the artifact has what the API tells."""
    body = small | {
        "epochs": 200,
        "dataloader": {"batch_size": 4},
        "training": {"log_every_n_steps": 3},
        "checkpoint": {"every_n_steps": 7},
    }
    stack.have_worker()
    job = stack.client.submit(body)
    stack.until_event(job["id"], "epoch")
    stack.client.pause(job["id"])
    paused = stack.client.get(job["id"], wait=30, leaving="running")
    before = stack.client.steps(job["id"])
    stack.client.resume(job["id"])

    ended = stack.client.wait(job["id"], timeout=60)

    steps = stack.client.steps(job["id"])
    assert (paused["state"], ended["state"]) == ("paused", "succeeded")
    assert 0 < len(before) < len(steps)
    assert steps[: len(before)] == before
    assert [row["step"] for row in steps] == list(range(3, 50 * 200 + 1, 3))
    assert [row["epoch"] for row in steps] == [-(-row["step"] // 50) for row in steps]
    stack.client.download(job["id"], tmp_path)
    assert [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()] == steps
    means = [row["train_loss"] for row in stack.client.metrics(job["id"])]
    by_epoch = [[row["train_loss"] for row in steps if row["epoch"] == epoch] for epoch in range(1, 201)]
    assert [sum(each) / len(each) for each in by_epoch] == pytest.approx(means, rel=0.5)


def test_checkpoints_are_listed_and_handed_out(http: httpx2.Client, stack: Stack, small: dict[str, Any]) -> None:
    """Each file is as its manifest says, whole or in part; what no manifest names is not there."""
    body = small | {
        "dataset": {"type": "Digits", "limit": 200, "validation_split": 0.2},
        "epochs": 4,
        "checkpoint": {"monitor": "val_loss", "mode": "min"},
    }
    stack.have_worker()
    job = stack.client.wait(stack.client.submit(body)["id"], timeout=60)

    found = stack.client.checkpoints(job["id"])

    assert job["state"] == "succeeded"
    assert (found[0]["step"], found[0]["epoch"]) == (9, 3)  # the last epoch's needs none; of earlier ones the newest overtakes
    assert all(each["step"] == 3 * each["epoch"] for each in found)
    assert [each["best"] for each in found] == [job["best"]["step"] == each["step"] for each in found]
    for each in found:
        assert job["created_at"] < each["created_at"] < job["finished_at"]
        assert {"model.safetensors", "state.pt", "best.safetensors"} <= {file["path"] for file in each["files"]}
        assert each["size"] == sum(file["size"] for file in each["files"])
        for file in each["files"]:
            answer = http.get(file["url"])
            assert (answer.status_code, len(answer.content)) == (200, file["size"])
            assert hashlib.sha256(answer.content).hexdigest() == file["sha256"] == answer.headers["etag"].strip('"')
    weights = next(file for file in found[0]["files"] if file["path"] == "model.safetensors")
    whole = http.get(weights["url"]).content
    part = http.get(weights["url"], headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, whole[5:10], f"bytes 5-9/{len(whole)}")
    assert http.get(weights["url"], headers={"If-None-Match": f'"{weights["sha256"]}"'}).status_code == 304
    assert http.get(weights["url"], headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    here = f"/v1/jobs/{job['id']}/checkpoints"
    for missing in (f"{here}/8/model.safetensors", f"{here}/9/manifest.json", f"{here}/9/../../x", "/v1/jobs/nobody/checkpoints"):
        assert http.get(missing).status_code == 404


def test_a_running_job_shows_its_checkpoints(
    http: httpx2.Client, stack: Stack, stores: Stores, s3: S3Server, small: dict[str, Any]
) -> None:
    """None at first; then the committed one, also where another attempt wrote the same step before."""
    claim = claimed(stack, small, stores)
    assert stack.client.checkpoints(claim.job.id) == []
    artifacts = S3Artifacts(settings_for(s3))
    for token in (claim.token - 1, claim.token):
        prefix = checkpoint_prefix("default", claim.job.id, token, 7)
        file = {"path": "model.safetensors", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
        artifacts.put_bytes(prefix + "model.safetensors", b"abc")
        artifacts.put_bytes(prefix + "manifest.json", json.dumps({"epoch": 1, "step": 7, "token": token, "files": [file]}).encode())
        stores.attempts.checkpoint(claim, CheckpointPointer(token=token, epoch=1, step=7, prefix=prefix), keep=3)

    (found,) = stack.client.checkpoints(claim.job.id)

    assert (found["step"], found["attempt_token"], found["created_at"], found["best"]) == (7, claim.token, None, False)
    assert http.get(found["files"][0]["url"]).content == b"abc"


def test_the_queue_and_its_workers_are_told(http: httpx2.Client, stack: Stack, small: dict[str, Any]) -> None:
    """What waits and in which order, who works; and afterwards what the worker was at."""
    stack.dismiss()  # the last test's worker would take them as soon as it is heard of
    later, sooner = (stack.client.submit(small | {"name": str(of), "resources": {"priority": of}}) for of in (0, 5))

    on_cpu, on_gpu = stack.client.queue()

    assert {name: on_cpu[name] for name in ("device", "waiting", "running", "slots", "idle")} == {
        "device": "cpu",
        "waiting": 2,
        "running": 0,
        "slots": 0,
        "idle": 0,
    }
    assert (on_gpu["device"], on_gpu["waiting"], on_gpu["jobs"]) == ("gpu", 0, [])
    first = {"id": sooner["id"], "name": "5", "position": 1, "priority": 5, "created_at": sooner["created_at"], "estimated_start_at": None}
    assert on_cpu["jobs"][0] == first
    assert [job["id"] for job in on_cpu["jobs"]] == [sooner["id"], later["id"]]
    stack.start_worker(slots=2)
    ended = {job["id"]: stack.client.wait(job["id"], timeout=60) for job in (later, sooner)}
    (worker,) = stack.client.workers()
    assert (worker["name"], worker["device"], worker["slots"], bool(worker["device_name"])) == ("w1", "cpu", 2, True)
    assert worker["memory_bytes"] > 2**26
    assert {each["id"] for each in worker["history"]} == set(ended)
    for each in worker["history"]:
        job = ended[each["id"]]
        assert (each["name"], each["state"]) == (job["name"], "succeeded")
        assert (each["started"], each["ended"]) == (job["started_at"], job["finished_at"])
    assert [each["slots"] for each in http.get("/v1/queue").json()["data"]] == [2, 0]


def test_a_spec_is_written_as_a_program(http: httpx2.Client, stack: Stack, small: dict[str, Any]) -> None:
    """Without a job; faulty specs are refused as they are at POST; no job comes of it."""
    body = small | {"name": "mine", "optimizer": {"type": "SGD", "lr": 0.125}}

    text = stack.client.script(body)

    compile(text, "train.py", "exec")
    assert "torch.optim.SGD(model.parameters(), lr=0.125" in text
    assert http.get("/v1/jobs").json()["data"] == []
    refused = http.post("/v1/jobs/script", json=body | {"optimizer": {"type": "SGD", "learning_rate": 0.1}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/optimizer/learning_rate")
    by_yaml = http.post("/v1/jobs/script", content=json.dumps(body), headers={"Content-Type": "application/yaml"})
    assert (by_yaml.text, by_yaml.headers["content-type"]) == (text, "text/x-python; charset=utf-8")
    stack.have_worker()
    job = stack.client.wait(stack.client.submit(body)["id"], timeout=60)
    assert http.get(f"/v1/jobs/{job['id']}/artifacts/train.py").text == text

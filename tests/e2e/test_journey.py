"""A job's whole journey through real processes, and its artifacts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import torch
from safetensors.torch import load_file

from service.client.errors import Conflict, NotFound, Rejected
from tests.e2e.stack import Stack

ARTIFACTS = {
    "README.md",
    "config.json",
    "environment.json",
    "evaluation/confusion_matrix.csv",
    "evaluation/confusion_matrix.png",
    "evaluation/metrics.json",
    "evaluation/most_wrong.csv",
    "evaluation/most_wrong.png",
    "job.json",
    "logs.txt",
    "manifest.json",
    "metrics.jsonl",
    "model.safetensors",
    "plots/curves.png",
    "resolved_spec.json",
    "steps.jsonl",
    "tensorboard/events.out.tfevents.0",
    "train.py",
}


def test_a_posted_job_trains_and_its_artifacts_come_back_whole(stack: Stack, small: dict, tmp_path: Path):
    """Every artifact of the manifest downloads, verifies, and agrees with what the API says."""
    stack.have_worker()
    job = stack.client.wait(stack.client.submit(small)["id"], timeout=60)

    stack.client.download(job["id"], tmp_path / "home")

    assert job["state"] == "succeeded", job["error"]
    manifest = stack.client.artifacts(job["id"])
    assert {file["path"] for file in manifest} == ARTIFACTS
    for file in manifest:
        assert hashlib.sha256((tmp_path / "home" / file["path"]).read_bytes()).hexdigest() == file["sha256"]
    assert json.loads((tmp_path / "home/evaluation/metrics.json").read_text())["test_accuracy"] == job["metrics"]["test_accuracy"]
    assert [row["epoch"] for row in stack.client.metrics(job["id"])] == [1]


def test_train_py_gives_the_jobs_weights_bit_for_bit(stack: Stack, long: dict, tmp_path: Path):
    """A convolutional network with Dropout, BatchNorm and a validation split, with gradients clipped and accumulated, best epoch kept."""
    stack.have_worker()
    spec = long | {
        "epochs": 3,
        "training": {"clip_grad_norm": 1.0, "gradient_accumulation_steps": 3},
        "checkpoint": {"monitor": "val_loss", "mode": "min"},
    }
    job = stack.client.wait(stack.client.submit(spec)["id"], timeout=60)
    stack.client.download(job["id"], tmp_path)

    subprocess.run([sys.executable, "-W", "error", tmp_path / "train.py", "--out", tmp_path / "again.safetensors"], check=True, timeout=120)

    ours, again = load_file(tmp_path / "model.safetensors"), load_file(tmp_path / "again.safetensors")
    assert ours.keys() == again.keys()
    assert all(torch.equal(ours[name], again[name]) for name in ours)


def test_a_spec_with_faults_is_refused_with_all_of_them(stack: Stack, small: dict):
    """Two faults in one spec come back together, each with its place."""
    broken = small | {"epochs": 0, "optimizer": {"type": "SGD", "learning_rate": 1}}

    with pytest.raises(Rejected) as rejected:
        stack.client.submit(broken)

    assert {fault["pointer"] for fault in rejected.value.problem["errors"]} == {"/epochs", "/optimizer/learning_rate"}


def test_a_wrong_size_is_refused_with_the_right_one(stack: Stack, small: dict):
    """The sentence names the size that would fit."""
    small["model"] = {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "in_features": 63, "out_features": 10}]}

    with pytest.raises(Rejected) as rejected:
        stack.client.submit(small)

    [fault] = rejected.value.problem["errors"]
    assert fault["pointer"] == "/model/layers/1/in_features"
    assert "in_features=64, got 63" in fault["detail"]


def test_a_missing_dataset_fails_the_job_with_the_place_and_the_cure(stack: Stack, small: dict):
    """The error says where was looked, and which variable helps."""
    stack.environment["HTTPS_PROXY"] = stack.environment["https_proxy"] = "http://127.0.0.1:9"  # no download either
    stack.environment["TRAINYARD_DATASETS_DIR"] = str(stack.folder)
    stack.have_worker()

    job = stack.client.wait(stack.client.submit(small | {"dataset": "FashionMNIST"})["id"], timeout=120)

    assert (job["state"], job["reason"]) == ("failed", "bad_data")
    assert "TRAINYARD_DATASETS_DIR" in job["error"]["message"]
    assert stack.client.artifacts(job["id"]) == []


def test_before_the_end_there_is_nothing_to_fetch(stack: Stack, small: dict):
    """Artifacts of a waiting job are a conflict, of an unknown one not found."""
    stack.dismiss()
    job = stack.client.submit(small)

    with pytest.raises(Conflict):
        stack.client.artifacts(job["id"])
    with pytest.raises(NotFound):
        stack.client.artifacts("job_nope")
    assert job["reason"] == "waiting_for_worker"
    assert "no_capable_worker" in {warning["code"] for warning in job["warnings"]}


def test_the_edge_speaks_http(stack: Stack, small: dict):
    """Location, idempotent replays, ETag, ranges, and problems for everything that is refused."""
    stack.have_worker()
    key = {"Idempotency-Key": "one"}
    with httpx2.Client(base_url=stack.client.url, trust_env=False) as http:
        first = http.post("/v1/jobs", json=small, headers=key)
        second = http.post("/v1/jobs", json=small, headers=key)
        other = http.post("/v1/jobs", json=small | {"seed": 9}, headers=key)
        stack.client.wait(first.json()["id"], timeout=60)
        job = http.get(first.headers["Location"])
        again = http.get(first.headers["Location"], headers={"If-None-Match": job.headers["ETag"]})
        whole = http.get(f"{first.headers['Location']}/artifacts/train.py")
        part = http.get(f"{first.headers['Location']}/artifacts/train.py", headers={"Range": "bytes=5-9"})
        beyond = http.get(f"{first.headers['Location']}/artifacts/train.py", headers={"Range": "bytes=999999-"})
        outside = http.get(f"{first.headers['Location']}/artifacts/..%2f..%2fjob.json")
        unknown = http.get("/nowhere")

    assert (first.status_code, second.status_code, other.status_code) == (202, 202, 422)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.json()["id"] == first.json()["id"]
    assert again.status_code == 304
    assert (part.status_code, part.content) == (206, whole.content[5:10])
    assert (beyond.status_code, outside.status_code, unknown.status_code) == (416, 404, 404)
    for refused in (other, beyond, outside, unknown):
        assert refused.headers["content-type"] == "application/problem+json"


def test_events_stream_to_the_end_and_resume(stack: Stack, small: dict):
    """The stream ends after the terminal event; taken up later it repeats nothing."""
    job = stack.client.submit(small)
    stack.have_worker()

    events = list(stack.client.events(job["id"]))
    later = list(stack.client.events(job["id"], after=events[2]["id"]))

    assert events[-1]["data"]["state"] == "succeeded"
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert later == events[3:]


def test_the_zip_holds_every_artifact(stack: Stack, small: dict, tmp_path: Path):
    """What the zip unpacks to is what the manifest names."""
    stack.have_worker()
    job = stack.client.wait(stack.client.submit(small)["id"], timeout=60)

    with httpx2.Client(base_url=stack.client.url, trust_env=False) as http:
        (tmp_path / "all.zip").write_bytes(http.get(f"/v1/jobs/{job['id']}/artifacts.zip").content)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", tmp_path / "all.zip", tmp_path / "all"], check=True)

    for file in stack.client.artifacts(job["id"]):
        assert hashlib.sha256((tmp_path / "all" / file["path"]).read_bytes()).hexdigest() == file["sha256"]

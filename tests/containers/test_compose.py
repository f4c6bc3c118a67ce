"""The journey of a job through containers, asked from outside."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx2
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from service.client.sdk import Client
from service.spec.dataset import Dataset
from service.spec.job import read_spec
from tests.containers.conftest import DATA, ROOT, Composed

MLP = {
    "dataset": "MNIST" if DATA.exists() else "Digits",
    "model": {
        "type": "Sequential",
        "layers": ["Flatten", {"type": "Linear", "out_features": 128}, "ReLU", {"type": "Linear", "out_features": 10}],
    },
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.01},
    "dataloader": {"batch_size": 64, "shuffle": True},
    "epochs": 5 if DATA.exists() else 40,
}


@pytest.mark.timeout(1800)
def test_the_textbooks_job_trains_in_containers(composed: Composed, tmp_path: Path):
    """POST, poll, fetch; the model scores on the test images what the job reported."""
    with Client(composed.url, composed.key) as client:
        job = client.wait(client.submit(MLP)["id"], timeout=300)
        client.download(job["id"], tmp_path)

    assert job["state"] == "succeeded", job["error"]
    spec = read_spec(MLP)
    assert isinstance(spec.dataset, Dataset)
    features = 784 if DATA.exists() else 64
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, 10))
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    accuracy = score(model)
    assert accuracy == job["metrics"]["test_accuracy"] == json.loads((tmp_path / "evaluation/metrics.json").read_text())["test_accuracy"]
    assert accuracy >= 0.9


def score(model: nn.Module) -> float:
    """The share of right answers on the test split."""
    from worker.training.loading import load_splits

    test = load_splits(read_spec(MLP), datasets_dir=DATA).test
    with torch.inference_mode():
        logits = torch.cat([model(images.float() * (1 / 255)) for images in test.images.split(512)])
    return (logits.argmax(1) == test.labels).sum().item() / len(test)


@pytest.mark.timeout(1800)
def test_without_the_key_nothing_is_told(composed: Composed):
    """401 and a problem, for reading and for submitting."""
    with httpx2.Client(base_url=composed.url, trust_env=False) as http:
        answers = [http.get("/v1/jobs"), http.post("/v1/jobs", json=MLP), http.get("/v1/jobs", headers={"Authorization": "Bearer nope"})]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)


@pytest.mark.timeout(1800)
def test_the_gpu_profile_is_valid(composed: Composed):
    """The compose file with its GPU worker is accepted as it stands."""
    done = subprocess.run(
        ["docker-compose", "--profile", "gpu", "config"], cwd=ROOT, env=composed.environment, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "trainyard:cuda" in done.stdout

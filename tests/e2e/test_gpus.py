"""Workers with several GPUs, which NVIDIA's own tool is asked for: a stand-in prints what it prints, and the CPU computes (TRAINYARD_CPU_REHEARSAL)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.stack import Stack, children, until

STAND_IN = Path(__file__).parent.parent / "gpu"
LAYERS: list[Any] = [
    {"type": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1},
    "ReLU",
    {"type": "Dropout2d", "p": 0.1},
    "Flatten",
    {"type": "Dropout", "p": 0.3},
    {"type": "Linear", "out_features": 10},
]
CNN: dict[str, Any] = {
    "seed": 3,
    "dataset": {"type": "Digits", "limit": 600, "validation_split": 0.1},
    "dataloader": {"batch_size": 7},
    "model": {"type": "Sequential", "layers": LAYERS},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "AdamW", "lr": 0.003},
    "epochs": 3,
    "checkpoint": {"every_n_steps": 5},
    "resources": {"device": "gpu", "threads": 1, "max_retries": 5},
}
TOLERANCE = 2e-6
"""Of each weight: what adding up in another order came to, ten times over."""


def on(gpus: int, **changes: Any) -> dict[str, Any]:
    """The job on so many."""
    return CNN | {"resources": CNN["resources"] | {"gpus": gpus}} | changes


@pytest.fixture
def rehearsed(stack: Stack) -> Stack:
    """A service with one worker that has two GPUs."""
    stack.environment |= {"PATH": f"{STAND_IN}:{os.environ['PATH']}", "TRAINYARD_CPU_REHEARSAL": "1"}
    stack.start_worker(device="gpu", slots=None)
    return stack


def weights_of(stack: Stack, job_id: str, folder: Path) -> dict[str, torch.Tensor]:
    """Those of a job that is to succeed."""
    job = stack.client.wait(job_id, timeout=240)
    assert job["state"] == "succeeded", job["error"]
    stack.client.download(job_id, folder / job_id)
    return load_file(folder / job_id / "model.safetensors")


def test_a_job_on_two_gpus_has_the_weights_and_the_numbers_of_a_job_on_one(rehearsed: Stack, tmp_path: Path):
    """Within rounding; the worker has a slot for each GPU, and says how busy they are. A job for more of them waits, with a warning."""
    until(lambda: rehearsed.client.workers()[0]["gpus"], seconds=30)
    worker = rehearsed.client.workers()[0]
    with urlopen(f"http://127.0.0.1:{rehearsed.environment['TRAINYARD_PORT']}/workers") as answer:
        page = answer.read().decode()
    waiting = rehearsed.client.submit(on(3))
    first, second = (rehearsed.client.submit(on(gpus))["id"] for gpus in (1, 2))
    one, two = (weights_of(rehearsed, each, tmp_path) for each in (first, second))

    assert (worker["slots"], worker["job_gpus"], worker["device_name"]) == (2, 2, "NVIDIA H100 80GB HBM3")
    assert [gpu["utilisation_percent"] for gpu in worker["gpus"]] == [0, 37]
    assert '<td class="num">37 %</td>' in page
    assert [warning["pointer"] for warning in waiting["warnings"] if warning["code"] == "no_capable_worker"] == ["/resources/gpus"]
    assert rehearsed.client.get(waiting["id"])["state"] == "queued"
    assert max((one[name] - two[name]).abs().max().item() for name in one) < TOLERANCE
    rows = [rehearsed.client.metrics(each) for each in (first, second)]
    for mine, others in zip(*rows, strict=True):
        assert mine["step"] == others["step"]
        assert mine["train_loss"] == pytest.approx(others["train_loss"], abs=1e-5)
        assert mine["val_loss"] == pytest.approx(others["val_loss"], abs=1e-5)
        assert mine["train_accuracy"] == others["train_accuracy"]
    assert "2 GPUs" in (tmp_path / second / "train.py").read_text()


@pytest.mark.parametrize("place", [pytest.param(0, id="leader", marks=pytest.mark.long), pytest.param(1, id="other")])
def test_a_killed_process_of_two_takes_the_attempt_down_and_the_next_ends_with_equal_bits(rehearsed: Stack, tmp_path: Path, place: int):
    """Kill -9 of either in the midst of an epoch: trainer_lost, another attempt, the bits of two that nobody disturbed."""
    undisturbed = weights_of(rehearsed, rehearsed.client.submit(on(2))["id"], tmp_path)
    job_id = rehearsed.client.submit(on(2, name="killed"))["id"]
    rehearsed.until_event(job_id, "checkpoint")
    crew = sorted(pid for pid in trainers(rehearsed) if is_at_work(pid))
    os.kill(crew[place], signal.SIGKILL)

    resumed = weights_of(rehearsed, job_id, tmp_path)

    job = rehearsed.client.get(job_id)
    assert "trainer_lost" in {step["reason"] for step in job["transitions"]}
    assert job["attempt"] == 2
    assert all(torch.equal(resumed[name], undisturbed[name]) for name in undisturbed)


def trainers(stack: Stack) -> list[int]:
    """The pids of the worker's trainers, spares too."""
    return [pid for zygote in children(stack.workers[0].pid) for pid in children(zygote)]


def is_at_work(pid: int) -> bool:
    """Whether it belongs to a training of several: it has the file open where they meet, or a socket to another."""
    return any("socket" in str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())


def test_a_worker_whose_torch_cannot_use_its_gpu_fails_jobs_and_says_so(stack: Stack):
    """NVIDIA's tool shows GPUs, and torch was built for the CPU: an end at once, with a cure."""
    stack.environment |= {"PATH": f"{STAND_IN}:{os.environ['PATH']}"}
    stack.start_worker(device="gpu", slots=None)

    one = stack.client.wait(stack.client.submit(on(1))["id"], timeout=120)
    two = stack.client.wait(stack.client.submit(on(2))["id"], timeout=120)

    for job in (one, two):
        assert (job["state"], job["attempt"]) == ("failed", 1)
        assert torch.__version__ in job["error"]["message"]
        assert "CUDA" in job["error"]["hint"]

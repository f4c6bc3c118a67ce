"""Attempts that go on on other hardware, that take long over an evaluation, and that stand still."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, children

SLOW_LAYERS = [
    {"type": "Upsample", "scale_factor": 24},
    {"type": "Conv2d", "out_channels": 48, "kernel_size": 3, "padding": 1},
    {"type": "Conv2d", "out_channels": 48, "kernel_size": 3, "padding": 1},
    {"type": "AdaptiveAvgPool2d", "output_size": 1},
    "Flatten",
    {"type": "Linear", "out_features": 10},
]


@pytest.fixture
def impatient(stack: Stack) -> Stack:
    """Its workers take 3 s of silence in training for a stall."""
    stack.environment["TRAINYARD_STALL_SECONDS"] = "3"
    return stack


@pytest.mark.long
def test_going_on_with_another_instruction_set_is_told(stack: Stack, long: dict, tmp_path: Path):
    """The job, environment.json and train.py say that the weights are not exact, and why."""
    first = stack.start_worker()
    job = stack.client.submit(long | {"epochs": 15})
    stack.until_event(job["id"], "epoch")
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0

    stack.environment["ATEN_CPU_CAPABILITY"] = "default"
    stack.start_worker()
    ended = stack.client.wait(job["id"], timeout=120)
    stack.client.download(job["id"], tmp_path / "job")

    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert ended["exactness"] == {"exact": False, "reasons": ["hardware_changed"]}
    [told] = [event for event in stack.client.events(job["id"]) if event["type"] == "inexact"]
    assert "cpu_capability was" in told["message"]
    about = json.loads((tmp_path / "job" / "environment.json").read_text())
    assert (about["exact"], about["inexact_because"]) == (False, ["hardware_changed"])
    assert "another processor" in (tmp_path / "job" / "train.py").read_text()


@pytest.mark.long
def test_a_long_evaluation_is_no_stall(impatient: Stack):
    """360 batches of one sample take longer than the silence that is allowed; each is a sign of life."""
    impatient.start_worker()
    spec = {
        "dataset": {"type": "Digits", "limit": 8},
        "dataloader": {"batch_size": 4, "eval_batch_size": 1},
        "model": {"type": "Sequential", "layers": SLOW_LAYERS},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.01},
        "epochs": 1,
    }

    job = impatient.client.wait(impatient.client.submit(spec)["id"], timeout=120)

    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    started = {step["phase"]: step["at"] for step in job["transitions"] if step["phase"]}
    assert seconds(started["exporting"]) - seconds(started["evaluating"]) > 3


def test_a_trainer_that_stands_still_is_ended(impatient: Stack, long: dict):
    """Stopped for good in training: killed after the silence that is allowed, and the job given back."""
    worker = impatient.start_worker()
    job = impatient.client.submit(long | {"epochs": 10})
    impatient.until_event(job["id"], "checkpoint")

    [trainer] = [pid for zygote in children(worker.pid) for pid in children(zygote)]
    os.kill(trainer, signal.SIGSTOP)
    ended = impatient.client.wait(job["id"], timeout=120)

    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert "stalled" in {step["reason"] for step in ended["transitions"]}


def seconds(at: str) -> float:
    """A time of the API's in seconds."""
    return datetime.fromisoformat(at).timestamp()

"""Workers, zygotes and trainers that die, drain or are told to stop. No job is lost, none is trained otherwise for it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from tests.e2e.stack import Stack, children, end, until


def weights(stack: Stack, job_id: str, folder: Path) -> bytes:
    """The model's bytes."""
    stack.client.download(job_id, folder / job_id)
    return (folder / job_id / "model.safetensors").read_bytes()


def undisturbed(stack: Stack, spec: dict, folder: Path) -> bytes:
    """What the spec gives when nothing happens."""
    job = stack.client.wait(stack.client.submit(spec)["id"], timeout=120)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    return weights(stack, job["id"], folder)


def test_another_worker_finishes_the_job_of_a_killed_one_with_equal_weights(stack: Stack, long: dict, tmp_path: Path):
    """Kill -9 of worker, zygote and trainer in the middle of training; the job resumes from its checkpoint."""
    first = stack.start_worker()
    job = stack.client.submit(long)
    stack.until_event(job["id"], "checkpoint")

    tree = stack.tree(first)
    for pid in tree:
        os.kill(pid, signal.SIGKILL)
    first.wait()
    stack.start_worker()
    ended = stack.client.wait(job["id"], timeout=120)

    assert len(tree) >= 3
    assert (ended["state"], ended["attempt"], ended["retries"]) == ("succeeded", 2, 1)
    assert "resuming after step" in stack.client.logs(job["id"])
    assert [row["epoch"] for row in stack.client.metrics(job["id"])] == list(range(1, 41))
    assert weights(stack, job["id"], tmp_path) == undisturbed(stack, long, tmp_path)


def test_a_drained_worker_loses_no_step(stack: Stack, long: dict, tmp_path: Path):
    """SIGTERM: a checkpoint in the middle of an epoch, the job given back without a retry counted, the worker gone."""
    first = stack.start_worker()
    job = stack.client.submit(long)
    stack.until_event(job["id"], "epoch")

    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    drained = stack.client.get(job["id"])
    stack.start_worker()
    ended = stack.client.wait(job["id"], timeout=120)

    assert (drained["state"], drained["reason"]) == ("queued", "drained")
    assert (ended["state"], ended["attempt"], ended["retries"]) == ("succeeded", 2, 0)
    assert weights(stack, job["id"], tmp_path) == undisturbed(stack, long, tmp_path)


def test_a_killed_trainer_is_infrastructure(stack: Stack, long: dict):
    """A bare SIGKILL of the trainer alone: the same worker tries again from the last checkpoint."""
    worker = stack.start_worker()
    job = stack.client.submit(long | {"epochs": 10})
    stack.until_event(job["id"], "checkpoint")

    [trainer] = [pid for zygote in children(worker.pid) for pid in children(zygote)]
    os.kill(trainer, signal.SIGKILL)
    ended = stack.client.wait(job["id"], timeout=120)

    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert "trainer_lost" in {step["reason"] for step in ended["transitions"]}


@pytest.mark.long
def test_a_dead_zygote_is_replaced(stack: Stack, small: dict):
    """The next job runs on a new one."""
    worker = stack.start_worker()
    [zygote] = children(worker.pid)

    os.kill(zygote, signal.SIGKILL)
    ended = stack.client.wait(stack.client.submit(small)["id"], timeout=60)

    assert ended["state"] == "succeeded"


def test_cancel_of_a_running_job_acts_at_once(stack: Stack, long: dict):
    """The trainer is gone within seconds; the job keeps its log."""
    worker = stack.start_worker()
    job = stack.client.submit(long)
    stack.until_event(job["id"], "epoch")

    stack.client.cancel(job["id"])
    ended = stack.client.wait(job["id"], timeout=10)

    assert ended["state"] == "cancelled"
    assert "epoch 1" in stack.client.logs(job["id"])
    until(lambda: not [pid for zygote in children(worker.pid) for pid in children(zygote)], seconds=10)


def test_twenty_jobs_on_two_workers_run_once_each_two_at_a_time(stack: Stack, small: dict):
    """The history stream shows one claim a job, and never more than two running."""
    stack.start_worker()
    stack.start_worker()

    jobs = [stack.client.submit(small | {"seed": seed})["id"] for seed in range(20)]
    ended = [stack.client.wait(job, timeout=120) for job in jobs]

    assert {(job["state"], job["attempt"]) for job in ended} == {("succeeded", 1)}
    running: set[str] = set()
    most = 0
    with redis.Redis.from_url(stack.environment["REDIS_URL"], decode_responses=True) as client:
        for _, move in client.xrange("ty:history"):
            (running.add if move["state"] == "running" else running.discard)(move["id"])
            most = max(most, len(running))
    assert most == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_fails_the_job_with_the_place_and_the_cure(stack: Stack, small: dict, tmp_path: Path):
    """The disk holds no checkpoint: the attempt is given back, and with no retries left the job says why; nothing half-written shows."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    try:
        stack.environment["TRAINYARD_WORK_DIR"] = str(disk)
        worker = stack.start_worker()
        large = ["Flatten", {"type": "Linear", "out_features": 8192}, {"type": "Linear", "out_features": 10}]
        spec = small | {"model": {"type": "Sequential", "layers": large}, "epochs": 3, "resources": {"max_retries": 0}}

        ended = stack.client.wait(stack.client.submit(spec)["id"], timeout=60)

        end(worker)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert (ended["state"], ended["reason"]) == ("failed", "disk_full")
    assert "TRAINYARD_WORK_DIR" in ended["error"]["hint"]
    assert stack.client.artifacts(ended["id"]) == []

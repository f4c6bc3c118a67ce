"""Trainers killed at random steps, on a real service: the weights are those of a job that nobody disturbed. TRAINYARD_LONG_TESTS=1 kills 20 times each."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
from safetensors.torch import load_file

from tests.corpus.interrupted import INTERRUPTED
from tests.e2e.stack import Stack, children, running_stack
from tests.scalars import scalars
from tests.servers import S3Server

KILLS = 20 if os.environ.get("TRAINYARD_LONG_TESTS") == "1" else 1
SEED = int(os.environ.get("TRAINYARD_RESUME_SEED", random.randrange(10**6)))


@pytest.fixture(scope="module")
def worked(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API and one worker for the whole file."""
    with running_stack(tmp_path_factory.mktemp("stack"), redis_url=valkey_url, s3=s3.environment()) as running:
        running.start_worker()
        yield running


def ended(stack: Stack, job_id: str, folder: Path) -> tuple[dict, str, list[dict]]:
    """The job, a SHA-256 of its tensors, and what it measured after each epoch."""
    job = stack.client.wait(job_id, timeout=120)
    assert job["state"] == "succeeded", job["error"]
    stack.client.download(job_id, folder / job_id)
    found = hashlib.sha256()
    for name, tensor in sorted(load_file(folder / job_id / "model.safetensors").items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    timings = ("at", "train_seconds", "samples_per_second", "peak_memory_bytes")
    rows = [{name: value for name, value in row.items() if name not in timings} for row in stack.client.metrics(job_id)]
    drawn = [step for name, _, step, _ in scalars(folder / job_id / "tensorboard") if name == "train_loss"]
    assert drawn == [row["step"] for row in rows]  # whoever trained them
    return job, found.hexdigest(), rows


def kill_at(stack: Stack, job_id: str, step: int) -> None:
    """Kill the trainer as soon as it has written a checkpoint of this step or a later one; a job that is faster than that is left alone."""
    deadline, pause = monotonic() + 60, Event()
    while written(stack, job_id) < step:
        assert monotonic() < deadline, "the step was never reached"
        pause.wait(0.002)
        if not written(stack, job_id) and stack.client.get(job_id)["state"] == "succeeded":
            return
    for trainer in [pid for zygote in children(stack.workers[0].pid) for pid in children(zygote)]:
        os.kill(trainer, signal.SIGKILL)


def written(stack: Stack, job_id: str) -> int:
    """The newest step of which a checkpoint lies in the attempt's folder."""
    return max((int(each.name) for each in stack.folder.glob(f"work/attempts/*/{job_id}-*/checkpoints/*")), default=0)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", INTERRUPTED)
def test_a_killed_training_ends_with_equal_bits(worked: Stack, name: str, tmp_path: Path):
    """Kill -9 of the trainer at a random step: another attempt, equal tensors, and the same rows of metrics, none missing, none twice."""
    print(f"TRAINYARD_RESUME_SEED={SEED}, {name}")
    spec = INTERRUPTED[name] | {"checkpoint": INTERRUPTED[name].get("checkpoint", {}) | {"every_n_steps": 3}}
    spec |= {"dataset": spec["dataset"] | {"limit": 720}}
    undisturbed, expected, rows = ended(worked, worked.client.submit(spec)["id"], tmp_path)
    rng, killed, resumed, equal = random.Random(f"{SEED} {name}"), 0, 0, 0

    for at in range(2 * KILLS + 2):
        job_id = worked.client.submit(spec | {"name": f"{name}-{at}"})["id"]
        kill_at(worked, job_id, rng.randrange(1, int(undisturbed["progress"]["step"] * 0.6)))
        job, found, rows_again = ended(worked, job_id, tmp_path)
        assert rows_again == rows
        if job["attempt"] == 1:
            continue  # the kill came too late
        killed, equal = killed + 1, equal + (found == expected)
        resumed += "resuming after step" in worked.client.logs(job_id)
        if killed == KILLS:
            break

    print(f"{name}: {equal} of {killed} equal, {resumed} from a checkpoint")
    assert (killed, equal) == (KILLS, KILLS)

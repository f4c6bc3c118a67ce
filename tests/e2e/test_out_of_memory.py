"""Memory that runs out for real: the kernel's killer in a control group, and an allocation that no machine grants."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from safetensors.torch import load_file

from tests.e2e.stack import Stack, children, until
from tests.programs import run_program

MEMORY = Path("/sys/fs/cgroup/memory")
GROUPS = pytest.mark.skipif(not (MEMORY / "cgroup.procs").exists() or not os.access(MEMORY, os.W_OK), reason="no control group can be made")


@contextmanager
def limited(pids: list[int], megabytes: int) -> Iterator[None]:
    """The processes, and what they start from now on, in a control group (v1) with so much memory more."""
    group = MEMORY / f"trainyard-{uuid4().hex[:8]}"
    group.mkdir()
    home = Path(f"/proc/{pids[0]}/cgroup").read_text()
    before = MEMORY / next(line.split(":", 2)[2] for line in home.splitlines() if ":memory:" in line).lstrip("/")
    try:
        (group / "memory.limit_in_bytes").write_text(f"{megabytes}M")
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (before / "cgroup.procs").write_text(pid)
        until(lambda: not (group / "cgroup.procs").read_text(), seconds=10)
        group.rmdir()


def hungry(small: dict, **changes: object) -> dict:
    """A job whose step holds 400 MB for each 1,024 samples, three times over, Dropout included."""
    layers = [
        "Flatten",
        {"type": "Linear", "out_features": 100_000},
        "ReLU",
        {"type": "Dropout", "p": 0.1},
        {"type": "Linear", "out_features": 10},
    ]
    return small | {
        "dataset": {"type": "Digits", "limit": 1024},
        "model": {"type": "Sequential", "layers": layers},
        "dataloader": {"batch_size": 1024, "eval_batch_size": 64},
        **changes,
    }


@GROUPS
def test_a_killed_trainer_with_evidence_goes_on_with_half_the_batch(stack: Stack, small: dict, tmp_path: Path):
    """The group's count of kills rose: 1,024 samples become 2 times 512, everywhere where it is told; train.py gives the second run's weights."""
    worker = stack.start_worker()
    with limited(stack.tree(worker), megabytes=1300):
        job = stack.client.wait(stack.client.submit(hungry(small))["id"], timeout=120)
    stack.client.download(job["id"], tmp_path / "job")

    assert (job["state"], job["attempt"], job["retries"]) == ("succeeded", 2, 1)
    assert "out_of_memory" in {step["reason"] for step in job["transitions"]}
    assert job["exactness"] == {"exact": False, "reasons": ["out_of_memory"]}
    assert job["resolved_spec"]["dataloader"]["batch_size"] == 512
    assert job["resolved_spec"]["training"]["gradient_accumulation_steps"] == 2
    assert {"batch_size_halved", "smaller_batches_differ"} <= {warning["code"] for warning in job["warnings"]}
    assert "memory ran out" in (tmp_path / "job" / "train.py").read_text()
    again = run_program(tmp_path / "job")
    assert all(again[name].equal(tensor) for name, tensor in load_file(tmp_path / "job" / "model.safetensors").items())


@GROUPS
def test_a_bare_kill_is_no_evidence(stack: Stack, long: dict):
    """In the same group, killed by hand: another attempt with the same numbers, and exact."""
    worker = stack.start_worker()
    with limited(stack.tree(worker), megabytes=4000):
        job = stack.client.submit(long | {"epochs": 10})
        stack.until_event(job["id"], "checkpoint")
        [trainer] = [pid for zygote in children(worker.pid) for pid in children(zygote)]
        os.kill(trainer, signal.SIGKILL)
        ended = stack.client.wait(job["id"], timeout=120)

    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert "trainer_lost" in {step["reason"] for step in ended["transitions"]}
    assert ended["exactness"] == {"exact": True, "reasons": []}
    assert ended["resolved_spec"]["dataloader"]["batch_size"] == 8


def test_a_second_time_fails_the_job_with_a_hint(stack: Stack, small: dict):
    """An allocation of 367 GB, and of half as many: one retry, no more, though three are allowed."""
    stack.have_worker()
    layers = [{"type": "Upsample", "scale_factor": 1000}, {"type": "AdaptiveAvgPool2d", "output_size": 2}, "Flatten"]
    model = {"type": "Sequential", "layers": [*layers, {"type": "Linear", "out_features": 10}]}
    spec = small | {"dataset": "Digits", "model": model, "dataloader": {"batch_size": 1437}, "resources": {"max_retries": 3}}

    job = stack.client.wait(stack.client.submit(spec)["id"], timeout=60)

    assert (job["state"], job["reason"], job["attempt"], job["retries"]) == ("failed", "out_of_memory", 2, 1)
    assert "again" in job["error"]["message"]
    assert "batch_size" in job["error"]["hint"]

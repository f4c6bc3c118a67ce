"""Arms 1 and 2: samples a second of a job, through API, queue and worker, beside the textbook's loop and the best hand-written one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.bench.ground import service, trained
from tests.bench.harness import Result, blocks, compared, told
from tests.bench.loops import SAMPLES, SPEC
from tests.bench.rivals import Rival, rival
from tests.e2e.stack import Stack

THREADS = os.cpu_count() or 1
EPOCHS = 5
"""Of each run: what a job costs once, at its start, weighs little in a training of whole epochs."""


def textbook() -> list[Result]:
    """A job over the textbook's loop, by the better of 0 and 2 loading processes."""
    with service(threads=THREADS) as stack:
        best = max((0, 2), key=_samples_a_second)
        with rival("tests.bench.loops", "textbook", "--threads", str(THREADS), "--workers", str(best)) as loop:
            check_weights(stack, loop)
            taken = blocks(lambda: of_job(stack, SPEC, epochs=EPOCHS), lambda: SAMPLES / loop.epoch())
    what = f"MNIST MLP, batch 64, samples/s: job / textbook loop ({best} loading processes)"
    return [compared(taken, arm="1", what=what, target=10, floor=5, detail={"threads": THREADS, "loading_processes": best})]


def by_hand() -> list[Result]:
    """A job over the best loop that plain PyTorch allows."""
    with service(threads=THREADS) as stack, rival("tests.bench.loops", "by_hand", "--threads", str(THREADS)) as loop:
        check_weights(stack, loop)
        taken = blocks(lambda: of_job(stack, SPEC, epochs=EPOCHS), lambda: EPOCHS * SAMPLES / sum(loop.epoch() for _ in range(EPOCHS)))
    return [
        compared(taken, arm="2", what="the same: job / best hand-written tensor loop", target=0.97, floor=0.93, detail={"threads": THREADS})
    ]


def of_job(stack: Stack, spec: dict[str, Any], *, epochs: int) -> float:
    """Training samples a second of a whole job: every epoch, from its first batch to its last step."""
    job = trained(stack.client, spec | {"epochs": epochs})
    rows = stack.client.metrics(job["id"])
    assert len(rows) == epochs
    return sum(row["samples_per_second"] * row["train_seconds"] for row in rows) / sum(row["train_seconds"] for row in rows)


def _samples_a_second(workers: int) -> float:
    with rival("tests.bench.loops", "textbook", "--threads", str(THREADS), "--workers", str(workers)) as loop:
        rate = SAMPLES / loop.epoch()
    told(f"    textbook with {workers} loading processes: {rate:.0f} samples/s")
    return rate


def check_weights(stack: Stack, loop: Rival, *, epochs: int = 1) -> None:
    """What the rival answers one command with, from the seed on both sides, has to give the same bits, or no ratio counts."""
    job = trained(stack.client, SPEC | {"epochs": epochs})
    loop.epoch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loop.ask(f"save {folder / 'theirs.safetensors'}")
        stack.client.download(job["id"], folder / "job")
        ours, theirs = load_file(next(folder.rglob("model.safetensors"))), load_file(folder / "theirs.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours), "the weights are not equal"

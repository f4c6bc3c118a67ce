"""Arms 6 and 11: how long it takes from POST to the first step, and what a data set that was seen before saves of it."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.ground import DATA, service, trained
from tests.bench.harness import Result, blocks, compared, measured
from tests.bench.loops import SPEC
from tests.e2e.stack import ROOT, Stack

JOBS = 5
"""Of one run of an arm: the median counts."""
SHORT: dict[str, Any] = SPEC | {"dataset": SPEC["dataset"] | {"limit": 6400}, "epochs": 1}


def first_step() -> list[Result]:
    """Milliseconds from POST to the first optimizer step, over those of `python train.py` from its start."""
    with tempfile.TemporaryDirectory() as name, service(threads=os.cpu_count() or 1) as stack:
        folder = Path(name)
        job = trained(stack.client, SHORT)
        stack.client.download(job["id"], folder)
        seeds, seen = count(1), list[float]()

        def of_job() -> float:
            taken = [_to_first_step(stack, SHORT | {"seed": next(seeds)}) for _ in range(JOBS)]
            seen.extend(taken)
            return statistics.median(taken)

        taken = blocks(of_job, lambda: _of_program(folder / "train.py"))
    return [
        compared(
            taken, arm="6", what="POST accepted -> first step / `python train.py` -> first step", better="lower", target=0.04, floor=0.1
        ),
        measured(seen[2 * JOBS :], arm="6", what="POST accepted -> first step, p50", unit="ms", better="lower", target=80),
    ]


def known_data() -> list[Result]:
    """Milliseconds of preparing (data, model, optimizer) of a job on MNIST that was decoded before, over those of the first one."""
    with service(threads=os.cpu_count() or 1) as stack:
        cache = Path(stack.environment["TRAINYARD_WORK_DIR"]) / "cache"
        seeds = count(1)

        def preparing() -> float:
            job = trained(stack.client, SHORT | {"seed": next(seeds)})
            phases = {step["phase"]: datetime.fromisoformat(step["at"]) for step in job["transitions"] if step["phase"]}
            return (phases["training"] - phases["preparing"]).total_seconds() * 1000

        def first() -> float:
            shutil.rmtree(cache, ignore_errors=True)
            return preparing()

        def second() -> float:
            return statistics.median(preparing() for _ in range(JOBS))

        first()
        taken = blocks(second, first)
    what = "second job on a data set: preparing until the first batch / first job's (MNIST)"
    return [compared(taken, arm="11", what=what, better="lower", target=0.05, floor=0.2)]


def _to_first_step(stack: Stack, spec: dict[str, Any]) -> float:
    job = trained(stack.client, spec)
    event = next(event for event in stack.client.past_events(job["id"]) if event["type"] == "first_step")
    return (datetime.fromisoformat(event["data"]["at"]) - datetime.fromisoformat(job["created_at"])).total_seconds() * 1000


def _of_program(program: Path) -> float:
    started = time.time()
    command = [sys.executable, "-m", "tests.bench.first_step", str(program), "--data", str(DATA)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return (float(answer.split()[-1]) - started) * 1000

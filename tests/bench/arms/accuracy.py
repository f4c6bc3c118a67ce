"""Arm 5: seconds until 99 % of MNIST's test images are recognised, by the example spec that is made for it and by PyTorch's own example program."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable

from service.api.examples import examples
from tests.bench.ground import service, trained
from tests.bench.harness import Result, measured, told
from tests.bench.loops import unpacked
from tests.e2e.stack import ROOT, Stack

ACCURACY = 0.99
THREADS = os.cpu_count() or 1
BEFORE, AFTER = (1, 2, 3, 4), (5, 6, 7)
"""Seeds of the jobs that run before and after the stock program, which takes minutes and runs once."""


def measure() -> list[Result]:
    """From POST to `succeeded`, over the program's start to the end of its first epoch that is good enough."""
    with service(threads=THREADS) as stack:
        fast = _fast(stack, BEFORE)
        stock, epochs = _stock()
        fast += _fast(stack, AFTER)
    good = sum(map(math.isfinite, fast))
    what = f"MNIST to 99 %: POST -> succeeded of mnist-fast ({good} of {len(fast)} seeds get there) / PyTorch's example (once, {epochs} epochs)"
    detail = {"stock_seconds": stock, "fast_seconds": fast, "threads": THREADS}
    return [
        measured([each / stock for each in fast], arm="5", what=what, unit="x", better="lower", target=1 / 20, floor=1 / 8, detail=detail),
        measured(fast, arm="5", what="POST -> succeeded of mnist-fast", unit="s", better="lower"),
    ]


def _fast(stack: Stack, seeds: Iterable[int]) -> list[float]:
    """Seconds of a job with each seed, without end where it does not get there. The first of all decodes the data, too."""
    taken = []
    for seed in seeds:
        started = time.perf_counter()
        job = trained(stack.client, dict(examples()["mnist-fast"]) | {"seed": seed})
        seconds, reached = time.perf_counter() - started, job["metrics"]["test_accuracy"]
        told(f"    mnist-fast, seed {seed}: {reached:.4f} in {seconds:.2f} s")
        taken.append(seconds if reached >= ACCURACY else math.inf)
    return taken


def _stock() -> tuple[float, int]:
    """Its seconds, and its epochs. Raises AssertionError where it never gets there."""
    folder = unpacked()
    command = [sys.executable, "-m", "tests.bench.stock_mnist", "--data", str(folder), "--accuracy", str(ACCURACY)]
    started = time.perf_counter()
    try:
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.split()
    finally:
        shutil.rmtree(folder)
    seconds = time.perf_counter() - started
    told(f"    stock: {', '.join(out)} in {seconds:.1f} s")
    assert float(out[-1]) >= ACCURACY, f"PyTorch's example never got to {ACCURACY}: {out}"
    return seconds, len(out)

"""Arm 3: samples a second of a job beside Lightning and Ignite, each with its own documented way and a TensorDataset."""

from __future__ import annotations

from pathlib import Path

from tests.bench.arms.training import THREADS, check_weights, of_job
from tests.bench.ground import service
from tests.bench.harness import Result, blocks, compared
from tests.bench.loops import SAMPLES, SPEC
from tests.bench.rivals import rival
from tests.e2e.stack import ROOT

PYTHON = ROOT / ".venv-bench" / "bin" / "python"
"""Has what only the rivals need; `make bench` makes it."""
RIVALS = {"Lightning": "tests.bench.by_lightning", "Ignite": "tests.bench.by_ignite"}
EPOCHS = 2


class RivalMissing(Exception):
    """What an arm compares with is not installed."""


def measure() -> list[Result]:
    """A job over each of the two."""
    if not PYTHON.exists():
        raise RivalMissing(f"{PYTHON} is not here: `make bench` makes it.")
    return [_beside(name, module, python=PYTHON) for name, module in RIVALS.items()]


def _beside(name: str, module: str, *, python: Path) -> Result:
    arguments = ["--threads", str(THREADS), "--epochs", str(EPOCHS)]
    with service(threads=THREADS) as stack, rival(module, *arguments, python=python) as loop:
        check_weights(stack, loop, epochs=EPOCHS)
        taken = blocks(lambda: of_job(stack, SPEC, epochs=EPOCHS), lambda: SAMPLES / loop.epoch())
    return compared(taken, arm="3", what=f"the same: job / {name} with a TensorDataset", target=3, floor=1.5, detail={"threads": THREADS})

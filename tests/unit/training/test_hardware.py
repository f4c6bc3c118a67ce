"""A checkpoint says what it was written on; who goes on elsewhere is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.checking import resolved
from tests.corpus.interrupted import INTERRUPTED
from worker.training.checkpoint import hardware_changes, restore, snapshot, write
from worker.training.facts import StepDone
from worker.training.loop import train
from worker.training.preparing import prepare

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """One after the first step."""
    run = prepare(resolved(INTERRUPTED["mlp"]), datasets_dir=Path(), resume=None)
    next(fact for fact in train(run) if isinstance(fact, StepDone))
    write(snapshot(run), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_here_nothing_has_changed(checkpoint: Path):
    """The same process, the same hardware."""
    assert hardware_changes(checkpoint, CPU) == []


def test_a_checkpoint_of_an_earlier_version_can_be_gone_on_from(checkpoint: Path):
    """Without word of hardware or batches: nothing is known to have changed, and it is restored."""
    (checkpoint / "checkpoint.json").write_text(json.dumps({"epoch": 0, "step": 1, "torch": torch.__version__}))
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    del state["batch_size"], state["samples_done"], state["position"]["trimmed"]
    torch.save(state, checkpoint / "state.pt")
    run = prepare(resolved(INTERRUPTED["mlp"]), datasets_dir=Path(), resume=None)

    restore(run, checkpoint)

    assert hardware_changes(checkpoint, CPU) == []
    assert next(fact.step for fact in train(run) if isinstance(fact, StepDone)) == 2


@pytest.mark.parametrize(("name", "value"), [("torch", "2.0.0"), ("cpu_capability", "VSX"), ("device", "cuda")])
def test_each_difference_is_named(checkpoint: Path, name: str, value: str):
    """With what it was, and what it is."""
    head = json.loads((checkpoint / "checkpoint.json").read_text())
    (checkpoint / "checkpoint.json").write_text(json.dumps(head | {"hardware": head["hardware"] | {name: value}}))

    [change] = hardware_changes(checkpoint, CPU)

    assert change.startswith(f"{name} was {value}, is ")

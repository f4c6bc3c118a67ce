"""`lr_scheduler` by step and by epoch, alone and inside of another, against torch's own stepped by hand; and the lengths that are inferred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as torchs

from tests.checking import checked, resolved
from worker.training.facts import EpochDone, StepDone
from worker.training.loop import train
from worker.training.preparing import prepare

BODY: dict[str, Any] = {
    "dataset": {"type": "Digits", "limit": 60},
    "dataloader": {"batch_size": 16},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
    "epochs": 6,
    "resources": {"threads": 1},
}
STEPS = {"step": 24, "epoch": 6}
SCHEDULES: list[tuple[dict[str, Any], Any]] = [
    ({"type": "StepLR", "step_size": 2}, lambda o, _: torchs.StepLR(o, 2)),
    ({"type": "MultiStepLR", "milestones": [2, 5]}, lambda o, _: torchs.MultiStepLR(o, [2, 5])),
    ({"type": "ConstantLR"}, lambda o, _: torchs.ConstantLR(o)),
    ({"type": "ConstantLR", "total_iters": None}, lambda o, n: torchs.ConstantLR(o, total_iters=n)),
    ({"type": "LinearLR"}, lambda o, _: torchs.LinearLR(o)),
    ({"type": "LinearLR", "total_iters": None}, lambda o, n: torchs.LinearLR(o, total_iters=n)),
    ({"type": "ExponentialLR", "gamma": 0.9}, lambda o, _: torchs.ExponentialLR(o, 0.9)),
    ({"type": "PolynomialLR", "total_iters": None}, lambda o, n: torchs.PolynomialLR(o, total_iters=n)),
    ({"type": "CosineAnnealingLR", "T_max": 4}, lambda o, _: torchs.CosineAnnealingLR(o, 4)),
    ({"type": "CosineAnnealingLR"}, torchs.CosineAnnealingLR),
    ({"type": "CosineAnnealingWarmRestarts", "T_0": 2}, lambda o, _: torchs.CosineAnnealingWarmRestarts(o, 2)),
    ({"type": "CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3}, lambda o, _: torchs.CyclicLR(o, 0.01, 0.1, 3)),
    ({"type": "OneCycleLR", "max_lr": 0.3}, lambda o, n: torchs.OneCycleLR(o, 0.3, total_steps=n)),
    (
        {"type": "SequentialLR", "milestones": [2], "schedulers": [{"type": "LinearLR", "total_iters": None}, "CosineAnnealingLR"]},
        lambda o, n: torchs.SequentialLR(o, [torchs.LinearLR(o, total_iters=2), torchs.CosineAnnealingLR(o, n - 2)], [2]),
    ),
    (
        {"type": "SequentialLR", "milestones": [1, 3], "schedulers": ["ConstantLR", "CosineAnnealingLR", {"type": "OneCycleLR", "max_lr": 0.2}]},
        lambda o, n: torchs.SequentialLR(
            o, [torchs.ConstantLR(o), torchs.CosineAnnealingLR(o, 2), torchs.OneCycleLR(o, 0.2, total_steps=n - 3)], [1, 3]
        ),
    ),
    (
        {"type": "ChainedScheduler", "schedulers": [{"type": "LinearLR", "total_iters": 3}, "CosineAnnealingLR"]},
        lambda o, n: torchs.ChainedScheduler([torchs.LinearLR(o, total_iters=3), torchs.CosineAnnealingLR(o, n)], optimizer=o),
    ),
]  # fmt: skip


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize(("declared", "by_hand"), SCHEDULES, ids=[str(declared) for declared, _ in SCHEDULES])
def test_the_rate_is_torchs_at_every_step(declared: dict[str, Any], by_hand: Any, interval: str):
    """The rate of each of 24 steps in 6 epochs; a length that is left out is the rest of the training's."""
    run = prepare(resolved(BODY | {"lr_scheduler": declared | {"interval": interval}}), datasets_dir=Path(), resume=None)
    ours = [run.optimizer.param_groups[0]["lr"]]
    ours += [run.optimizer.param_groups[0]["lr"] for fact in train(run) if isinstance(fact, StepDone | EpochDone)]

    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1, momentum=0.9)
    scheduler = by_hand(optimizer, STEPS[interval])
    theirs = [optimizer.param_groups[0]["lr"]]
    for _ in range(6):
        for _ in range(4):
            optimizer.step()
            if interval == "step":
                scheduler.step()
            theirs.append(optimizer.param_groups[0]["lr"])
        if interval == "epoch":
            scheduler.step()
        theirs.append(optimizer.param_groups[0]["lr"])

    assert ours == theirs
    assert len(set(ours)) > 1


def test_lengths_stand_in_the_resolved_spec():
    """A warm-up of one epoch's steps, then the cosine over what is left: every number is there to be read, and inner intervals are the outer one's."""
    warm_up = {"type": "SequentialLR", "interval": "step", "milestones": [4]}
    body = BODY | {"lr_scheduler": warm_up | {"schedulers": [{"type": "LinearLR", "total_iters": None}, "CosineAnnealingLR"]}}

    linear, cosine = resolved(body).lr_scheduler.arguments()["schedulers"]

    assert (linear.total_iters, cosine.T_max) == (4, 20)
    assert linear.interval == cosine.interval == "step"
    assert resolved(checked(body).resolved_spec) == resolved(body)


def test_a_length_is_counted_in_accumulated_steps():
    """Four batches of an epoch, three to a step and the last alone."""
    body = BODY | {"lr_scheduler": {"type": "CosineAnnealingLR", "interval": "step"}, "training": {"gradient_accumulation_steps": 3}}

    assert resolved(body).lr_scheduler.T_max == 12


def test_a_wrong_number_of_epochs_brings_no_fault_of_the_schedule():
    """What cannot be inferred for want of another part is no fault of its own."""
    assert [fault.pointer for fault in checked(BODY | {"epochs": 0, "lr_scheduler": "CosineAnnealingLR"}).errors] == ["/epochs"]

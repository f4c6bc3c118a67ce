"""`training.clip_grad_norm` and `clip_grad_value`, against plain torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import worker.training.vision  # noqa: F401  # before torchvision
from tests.checking import resolved
from worker.training.facts import StepDone
from worker.training.loop import train
from worker.training.preparing import prepare

from torchvision.transforms import v2  # isort: skip

BODY = {
    "seed": 4,
    "dataset": {"type": "Digits", "limit": 32},
    "dataloader": {"batch_size": 32, "shuffle": False},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 1.0},
    "epochs": 1,
    "resources": {"threads": 1},
}


@pytest.mark.parametrize(("norm", "value"), [(None, 0.02), (0.3, None), (0.3, 0.02), (0.3, 0.2)])
def test_the_step_is_that_of_clipped_gradients(norm: float | None, value: float | None):
    """The norm first, then each number: what the optimizer gets keeps both limits."""
    run = prepare(resolved(BODY | {"training": {"clip_grad_norm": norm, "clip_grad_value": value}}), datasets_dir=Path(), resume=None)
    next(fact for fact in train(run) if isinstance(fact, StepDone))

    torch.manual_seed(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    images, labels = run.splits.train.batch(torch.arange(32))
    nn.CrossEntropyLoss()(model(v2.ToDtype(torch.float32, scale=True)(images)), labels).backward()
    raw = [parameter.grad.clone() for parameter in model.parameters()]
    if norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), norm)
    if value is not None:
        nn.utils.clip_grad_value_(model.parameters(), value)
    torch.optim.SGD(model.parameters(), lr=1.0).step()

    assert all(ours.equal(theirs) for ours, theirs in zip(run.model.parameters(), model.parameters(), strict=True))
    assert not any(parameter.grad.equal(before) for parameter, before in zip(model.parameters(), raw, strict=True))
    assert value is None or max(parameter.grad.abs().max().item() for parameter in model.parameters()) <= value

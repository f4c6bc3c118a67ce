"""Classes of unequal size, drawn as they weigh: the orders that torch's WeightedRandomSampler gives, the weights of train.py, and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from tests.checking import checked, resolved
from tests.programs import weights_here
from worker.training.data import EpochOrder
from worker.training.loop import train
from worker.training.preparing import prepare
from worker.training.splits import labels_of
from worker.training.textbook import sample_weights

BODY: dict[str, Any] = {
    "seed": 4,
    "dataset": {"type": "Digits", "validation_split": 0.1, "limit": 300},
    "dataloader": {"batch_size": 16, "sampler": "WeightedRandomSampler"},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "epochs": 2,
}


def test_epochs_come_in_the_order_of_torchs_sampler():
    weights = torch.rand(37, dtype=torch.float64)
    generator = torch.Generator().manual_seed(9)
    sampler = WeightedRandomSampler(weights, 37, generator=generator)  # type: ignore[arg-type]  # a tensor is a sequence of floats
    loader = DataLoader(TensorDataset(torch.arange(37)), batch_size=5, sampler=sampler, generator=generator)
    ours = EpochOrder(37, seed=9, shuffle=True, weights=weights)

    for _ in range(3):
        theirs = torch.cat([batch for (batch,) in loader])
        assert torch.equal(ours.start(), theirs)
        ours.end()


@pytest.mark.parametrize("weights", ["balanced", [1.0, 0.0, 0.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]])
def test_train_py_gives_the_weights_of_the_job(weights: Any, tmp_path: Path):
    spec = resolved(BODY | {"dataloader": {"batch_size": 16, "sampler": {"type": "WeightedRandomSampler", "weights": weights}}})

    run = prepare(spec, datasets_dir=Path())
    for _ in train(run):
        pass
    theirs = weights_here(spec, tmp_path)

    assert all(torch.equal(value, theirs[name]) for name, value in run.judged.state_dict().items())


def test_balanced_draws_all_classes_equally_often():
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    order = EpochOrder(1000, seed=0, shuffle=True, weights=sample_weights(labels, "balanced"))

    drawn = torch.bincount(labels[order.start()])

    assert drawn.sum() == 1000
    assert all(280 < count < 390 for count in drawn.tolist())


def test_labels_are_those_of_the_split():
    run = prepare(resolved(BODY), datasets_dir=Path())

    labels = labels_of(run.splits.train)

    assert len(labels) == len(run.splits.train)
    assert [int(label) for label in labels[:20]] == [run.splits.train[at][1] for at in range(20)]


@pytest.mark.parametrize(
    ("sampler", "dataset", "pointer"),
    [
        ({"type": "WeightedRandomSampler", "weights": [1.0, 2.0]}, {}, "/dataloader/sampler/weights"),
        ({"type": "WeightedRandomSampler", "weights": [0.0] * 10}, {}, "/dataloader/sampler/weights"),
        ({"type": "WeightedRandomSampler", "weights": [-1.0] * 10}, {}, "/dataloader/sampler/weights/0"),
    ],
)
def test_weights_that_cannot_be_drawn_by_are_faults(sampler: dict[str, Any], dataset: dict[str, Any], pointer: str):
    found = checked(BODY | {"dataset": BODY["dataset"] | dataset, "dataloader": {"sampler": sampler}})

    assert not found.valid
    assert any(fault.pointer.startswith(pointer) for fault in found.errors), found.errors

"""`dataset.batch_transforms`: torchvision's MixUp and CutMix, drawn from (seed, epoch, number of the batch) alone, against plain torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import worker.training.vision  # noqa: F401  # before torchvision
from tests.checking import resolved
from tests.programs import weights_here
from worker.training.checkpoint import restore, snapshot, write
from worker.training.facts import EpochDone, StepDone
from worker.training.loop import train
from worker.training.preparing import prepare
from worker.training.textbook import mixed

from torchvision.transforms import v2  # isort: skip

EITHER: list[Any] = [{"type": "RandomChoice", "transforms": [{"type": "MixUp", "alpha": 0.2}, "CutMix"]}]
BODY: dict[str, Any] = {
    "seed": 3,
    "dataset": {"type": "Digits", "limit": 100, "batch_transforms": EITHER},
    "dataloader": {"batch_size": 16},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.2},
    "epochs": 2,
    "resources": {"threads": 1},
}
EVERYTHING = BODY | {
    "dataset": BODY["dataset"] | {"validation_split": 0.2, "train_transforms": [{"type": "RandomAffine", "degrees": 10}]},
    "model": {"type": "Sequential", "layers": ["Flatten", "Dropout", {"type": "Linear", "out_features": 10}]},
    "epochs": 3,
    "training": {"gradient_accumulation_steps": 2, "clip_grad_norm": 1.0, "clip_grad_value": 0.05, "skip_batches": [[1, 2]]},
    "lr_scheduler": {
        "type": "SequentialLR",
        "interval": "step",
        "milestones": [2],
        "schedulers": [{"type": "LinearLR", "total_iters": None}, "CosineAnnealingLR"],
    },
    "checkpoint": {"monitor": "val_f1_score"},
    "evaluation": {"metrics": [{"type": "F1Score", "average": "macro"}]},
}


def by_hand(target: str) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The weights and the accuracy of each epoch, by torch and torchvision alone, in the form of torchvision's references."""
    split = prepare(resolved(BODY), datasets_dir=Path(), resume=None).splits.train
    images, labels = split.batch(torch.arange(len(split)))
    samples = TensorDataset(v2.ToDtype(torch.float32, scale=True)(images), labels)
    loader = DataLoader(samples, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(3))
    mix = v2.RandomChoice([v2.MixUp(alpha=0.2, num_classes=10), v2.CutMix(num_classes=10)])
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    loss_fn = nn.CrossEntropyLoss() if target == "label" else nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    accuracies = []
    for epoch in range(2):
        right = 0
        for number, (images, labels) in enumerate(loader):
            torch.manual_seed((3 * 0x9E3779B97F4A7C15 + epoch * 0xC2B2AE3D27D4EB4F + (-1 - number) * 0x165667B19E3779F9) % 2**63)
            images, labels = mix(images, labels)  # noqa: PLW2901  # as everyone writes it
            outputs = model(images)
            loss_fn(outputs, labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            right += (outputs.argmax(1) == labels.max(dim=1)[1]).sum().item()
        accuracies.append(right / len(split))
    return model.state_dict(), accuracies


@pytest.mark.parametrize("target", ["label", "one_hot"])
def test_it_is_torchvisions(target: str):
    """Weights and accuracy, the label with the larger share counting, as torchvision's references count it."""
    dataset = BODY["dataset"] | {"target": target}
    loss = "CrossEntropyLoss" if target == "label" else "BCEWithLogitsLoss"
    run = prepare(resolved(BODY | {"dataset": dataset, "loss": loss}), datasets_dir=Path(), resume=None)
    told = [fact.metrics["train_accuracy"] for fact in train(run) if isinstance(fact, EpochDone)]

    weights, accuracies = by_hand(target)

    assert told == accuracies
    assert all(weights[name].equal(value) for name, value in run.model.state_dict().items())


def test_its_draws_are_its_own():
    """The number of a batch decides, not what was drawn before; and what is drawn afterwards, by Dropout say, is as without it."""
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4)
    mix = v2.MixUp(num_classes=4)
    torch.manual_seed(1)
    state = torch.get_rng_state()

    first, second = mixed([(0, (images, labels)), (1, (images, labels))], mix, 5, 2)
    torch.rand(7)
    (again,) = mixed([(1, (images, labels))], mix, 5, 2)
    torch.set_rng_state(state)
    next(mixed([(0, (images, labels))], mix, 5, 3))

    assert torch.equal(second[0], again[0])
    assert torch.equal(second[1], again[1])
    assert not torch.equal(first[0], second[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("stop_at", [1, 3, 4])
def test_a_resumed_training_ends_with_equal_bits(stop_at: int, tmp_path: Path):
    """Stopped inside an epoch, at its end, and in one of which a batch is left out."""
    spec = resolved(EVERYTHING)
    whole = prepare(spec, datasets_dir=Path(), resume=None)
    rows = [fact.metrics for fact in train(whole) if isinstance(fact, EpochDone)]
    broken = prepare(spec, datasets_dir=Path(), resume=None)
    next(fact for fact in train(broken) if isinstance(fact, StepDone) and fact.step == stop_at)
    write(snapshot(broken), tmp_path / "checkpoint")

    resumed = prepare(spec, datasets_dir=Path(), resume=None)
    restore(resumed, tmp_path / "checkpoint")
    later = [fact.metrics for fact in train(resumed) if isinstance(fact, EpochDone)]

    assert later == rows[-len(later) :]
    assert all(value.equal(resumed.model.state_dict()[name]) for name, value in whole.model.state_dict().items())


def test_the_program_gives_the_same_weights(tmp_path: Path):
    """train.py, with augmentation, accumulation, both clippings, a warm-up and a batch left out besides, and the best F1's epoch kept."""
    run = prepare(resolved(EVERYTHING), datasets_dir=Path(), resume=None)
    assert [fact.epoch for fact in train(run) if isinstance(fact, EpochDone)] == [1, 2, 3]

    again = weights_here(run.spec, tmp_path)

    assert run.position.best_weights is not None
    assert again.keys() == run.position.best_weights.keys()
    assert all(again[name].equal(value) for name, value in run.position.best_weights.items())

"""`training.ema_decay`: torch's moving average of the weights, evaluated and handed out in place of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from tests.checking import checked, resolved
from tests.programs import program_weights
from worker.trainer import _evaluated
from worker.training.evaluate import evaluate
from worker.training.facts import EpochDone, StepDone
from worker.training.loop import train
from worker.training.preparing import prepare
from worker.training.textbook import moving_average

LAYERS = ["Flatten", {"type": "Linear", "out_features": 12}, "BatchNorm1d", "ReLU", {"type": "Linear", "out_features": 10}]
BODY = {
    "seed": 4,
    "dataset": {"type": "Digits", "limit": 200, "validation_split": 0.2},
    "dataloader": {"batch_size": 16},
    "model": {"type": "Sequential", "layers": LAYERS},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "epochs": 3,
    "training": {"ema_decay": 0.9},
    "resources": {"threads": 1},
}


def test_it_is_the_recursion_of_the_textbook():
    """After each optimizer step: the first weights as they are, then decay * average + (1 - decay) * weights; statistics alike."""
    run = prepare(resolved(BODY), datasets_dir=Path(), resume=None)
    expected: dict[str, torch.Tensor] = {}

    for fact in train(run):
        if not isinstance(fact, StepDone):
            continue
        for name, value in run.model.state_dict().items():
            now = value.detach().double()
            expected[name] = now if name not in expected or not value.is_floating_point() else 0.9 * expected[name] + 0.1 * now

    for name, value in run.judged.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(run.judged.get_parameter("1.weight"), run.model.get_parameter("1.weight"))


def test_the_average_is_what_is_evaluated():
    """The validation loss that is told is the average's, not the weights'."""
    run = prepare(resolved(BODY), datasets_dir=Path(), resume=None)

    told = [fact.metrics["val_loss"] for fact in train(run) if isinstance(fact, EpochDone)][-1]

    split = run.splits.validation
    images, labels = split.batch(torch.arange(len(split)))
    batch = [(images.float() / 255, labels)]
    evaluations = (evaluate(model, nn.CrossEntropyLoss(), batch, spec=run.spec) for model in (run.model, run.judged))
    theirs, ours = (_evaluated(each, tell=print).loss for each in evaluations)
    assert abs(told - ours) < 1e-5 < abs(theirs - ours)


def test_whole_numbers_are_copied():
    """Averaged and rounded down, a table of indices, such as Swin's, would name the wrong ones."""
    model = nn.Linear(2, 2)
    model.register_buffer("table", torch.arange(100))
    average = moving_average(model, 0.9999)

    for _ in range(5):
        average.update_parameters(model)

    assert torch.equal(average.module.table, torch.arange(100))


def test_the_program_gives_the_same_average(tmp_path: Path):
    """train.py, with the best epoch's weights kept: equal bits."""
    spec = resolved(BODY | {"checkpoint": {"monitor": "val_loss", "mode": "min"}})
    run = prepare(spec, datasets_dir=Path(), resume=None)
    for _ in train(run):
        pass

    again = program_weights(spec, tmp_path)

    assert run.position.best_weights is not None
    assert again.keys() == run.position.best_weights.keys()
    assert all(again[name].equal(value) for name, value in run.position.best_weights.items())


def test_its_memory_is_counted():
    """Once more the weights."""
    without, with_it = (checked(BODY | {"training": training}).memory_bytes for training in ({}, {"ema_decay": 0.9}))

    assert without is not None
    assert with_it is not None
    assert with_it.weights == 2 * without.weights

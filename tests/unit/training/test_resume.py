"""Trainings stopped at random steps and gone on with from the checkpoint, against trainings left alone: equal bits, equal metrics."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from service.spec.job import JobSpec
from tests.checking import resolved
from tests.corpus.interrupted import INTERRUPTED
from worker.training.checkpoint import restore, snapshot, write
from worker.training.facts import EpochDone, Evaluating, StepDone
from worker.training.loop import Run, train
from worker.training.preparing import prepare

SEED = int(os.environ.get("TRAINYARD_RESUME_SEED", random.randrange(10**6)))


Stop = tuple[type[StepDone | Evaluating | EpochDone], int]


def trained(spec: JobSpec, stops: Sequence[Stop], folder: Path, workers: Sequence[int] = ()) -> tuple[Run, list[dict[str, Any]]]:
    """The run that ends the training, stopped at each of these facts before, and every epoch's metrics; `workers` change with each stop."""
    rows: list[dict[str, Any]] = []
    checkpoint = None
    for at, stop in enumerate([*stops, None]):
        loader = spec.dataloader.model_copy(update={"num_workers": workers[at]} if workers else {})
        run = prepare(spec.model_copy(update={"dataloader": loader}), datasets_dir=Path(), resume=None)
        if checkpoint is not None:
            restore(run, checkpoint)
        for fact in train(run):
            if isinstance(fact, EpochDone):
                rows.append({"epoch": fact.epoch, "step": fact.step, **fact.metrics, "best": fact.best})
            if (type(fact), _number(fact)) == stop:
                break
        checkpoint = folder / str(at)
        if stop is not None:
            write(snapshot(run), checkpoint)
    return run, rows


def _number(fact: StepDone | Evaluating | EpochDone) -> int:
    match fact:
        case StepDone():
            return fact.step
        case Evaluating():
            return fact.batches
        case EpochDone():
            return fact.epoch


def digest(run: Run) -> str:
    """One SHA-256 of all that the training leaves: weights, their average, the best ones."""
    average = {} if run.average is None else run.average.module.state_dict()
    found = hashlib.sha256()
    for tensors in (run.model.state_dict(), average, run.position.best_weights or {}):
        for name, tensor in sorted(tensors.items()):
            found.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def stops_of(name: str, until: int) -> list[Stop]:
    """Three steps to stop after, drawn with the printed seed."""
    print(f"TRAINYARD_RESUME_SEED={SEED}, {name}")
    return [(StepDone, step) for step in sorted(random.Random(f"{SEED} {name}").sample(range(1, until), 3))]


@pytest.mark.parametrize("name", INTERRUPTED)
def test_stopped_at_random_steps_the_training_ends_with_equal_bits(name: str, tmp_path: Path):
    """Three stops, inside epochs and accumulation and augmentation: weights, average, best weights and every metric are as without them."""
    spec = resolved(INTERRUPTED[name])
    whole, rows = trained(spec, [], tmp_path)

    again, rows_again = trained(spec, stops_of(name, rows[-1]["step"]), tmp_path)

    assert digest(again) == digest(whole)
    assert rows_again == rows


@pytest.mark.parametrize("name", ["mlp", "accumulation-average-onecycle"])
def test_stopped_at_every_epochs_end_the_training_ends_with_equal_bits(name: str, tmp_path: Path):
    """What is best, and what early stopping has seen, stand in the checkpoint of the very epoch; a training that has stopped goes no further."""
    spec = resolved(INTERRUPTED[name])
    whole, rows = trained(spec, [], tmp_path)

    again, rows_again = trained(spec, [(EpochDone, row["epoch"]) for row in rows], tmp_path)

    assert digest(again) == digest(whole)
    assert rows_again == rows


def test_stopped_inside_a_validation_the_training_ends_with_equal_bits(tmp_path: Path):
    """After the last step of an epoch, with a part of the validation split seen: it is seen again, from its start."""
    spec = resolved(INTERRUPTED["accumulation-average-onecycle"] | {"dataloader": {"batch_size": 7, "eval_batch_size": 10}})
    whole, rows = trained(spec, [], tmp_path)

    again, rows_again = trained(spec, [(Evaluating, 2), (Evaluating, 1), (StepDone, 40), (Evaluating, 3)], tmp_path)

    assert digest(again) == digest(whole)
    assert rows_again == rows


def test_early_stopping_is_among_them(tmp_path: Path):
    """Else nothing above would show what a checkpoint keeps of it."""
    spec = resolved(INTERRUPTED["accumulation-average-onecycle"])

    assert 3 < len(trained(spec, [], tmp_path)[1]) < spec.epochs


@pytest.mark.parametrize("name", ["two-workers", "cnn-batchnorm-dropout-augmented"])
def test_the_number_of_workers_may_change_at_each_stop(name: str, tmp_path: Path):
    """From 0 to 2, to 0, to 1: who loads the samples makes no difference to them."""
    spec = resolved(INTERRUPTED[name])
    whole, rows = trained(spec, [], tmp_path)

    again, rows_again = trained(spec, stops_of(name, rows[-1]["step"]), tmp_path, workers=[0, 2, 0, 1])

    assert digest(again) == digest(whole)
    assert rows_again == rows

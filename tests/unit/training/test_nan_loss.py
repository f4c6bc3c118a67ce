"""A loss that is no number: named with its step and batch, and, where the spec asks, gone back from without the batches that led there."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from service.spec.job import JobSpec
from tests.checking import resolved
from tests.corpus.not_a_number import bad_batches, body, seed_with
from tests.programs import program_weights
from worker.failing import failure
from worker.trainer import _attempt
from worker.training.epochs import leading_to
from worker.training.facts import CheckpointWritten, Failed, Succeeded
from worker.training.loop import NanLoss, train
from worker.training.preparing import prepare

LATE = seed_with(lambda bad: len(bad) == 1 and bad[0][0] == 1 and 4 < bad[0][1] < 40)
"""One bad batch, in the middle of the second epoch."""


def attempt(spec: JobSpec, folder: Path, *, resume: str | None = None, rollbacks: int = 0) -> tuple[list[Any], Failed | Succeeded]:
    """A trainer's attempt in this process: the checkpoints that it wrote, and how it ended."""
    facts: list[Any] = []
    job = {
        "spec": spec.model_dump(mode="json"),
        "directory": str(folder),
        "datasets_dir": ".",
        "cache": {"folder": str(folder / "cache"), "limit_bytes": 0},
        "resume": {"directory": resume} if resume else None,
        "rollbacks": rollbacks,
    }
    try:
        _attempt(job, tell=facts.append, stopping=Event().is_set)
    except NanLoss as error:
        facts.append(failure(error, custom=False))
    return [fact for fact in facts if isinstance(fact, CheckpointWritten)], facts[-1]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_failure_names_step_and_batch(accumulate: int):
    """Though nobody looked before the epoch's end; both are counted from 1."""
    seed = seed_with(lambda bad: bad and bad[0] > (0, 10))
    epoch, number = bad_batches(seed)[0]
    steps = -(-50 // accumulate)

    with pytest.raises(NanLoss) as caught:
        list(train(prepare(resolved(body(seed, gradient_accumulation_steps=accumulate)), datasets_dir=Path(), resume=None)))

    assert caught.value.at == (epoch, number)
    assert f"nan at step {epoch * steps + number // accumulate + 1} (batch {number + 1} of epoch {epoch + 1})" in str(caught.value)


def test_no_checkpoint_is_taken_of_what_is_no_number(tmp_path: Path):
    """A checkpoint each step: the last one is that before the bad batch, and all there is to leave out is that batch."""
    epoch, number = bad_batches(LATE)[0]
    spec = resolved(body(LATE, nan_loss="roll_back") | {"checkpoint": {"every_n_steps": 1}})

    written, failed = attempt(spec, tmp_path)

    assert isinstance(failed, Failed)
    assert written[-1].step == epoch * 50 + number
    assert all(load_file(Path(written[-1].directory) / "model.safetensors")[name].isfinite().all() for name in ("1.weight", "4.weight"))
    assert failed.skip_batches == [[epoch, number]]


def test_without_roll_back_nothing_is_left_out(tmp_path: Path):
    """The default: the training ends."""
    _, failed = attempt(resolved(body(LATE)), tmp_path)

    assert (failed.code, failed.skip_batches) == ("nan_loss", [])


@pytest.mark.parametrize(("rollbacks", "accumulate", "count"), [(0, 1, 2), (1, 1, 4), (0, 2, 4), (9, 1, None)])
def test_the_window_doubles_and_ends_at_the_checkpoint(rollbacks: int, accumulate: int, count: int | None, tmp_path: Path):
    """2 steps, 4, 8, ... before the bad batch, itself among them; never one that the epoch's checkpoint has seen."""
    epoch, number = bad_batches(LATE)[0]
    spec = resolved(body(LATE, nan_loss="roll_back", gradient_accumulation_steps=accumulate))

    _, failed = attempt(spec, tmp_path, rollbacks=rollbacks)

    first = 0 if count is None else number - count + 1
    assert failed.skip_batches == [[epoch, each] for each in range(first, number + 1)]


def test_the_window_reaches_into_the_epoch_before():
    """Where the checkpoint lies further back; batches that are left out already do not count."""
    spec = resolved(body(0, skip_batches=[[1, 49], [2, 0]]))

    assert leading_to(spec, 150, (2, 1), since=(0, 7), count=3) == [(1, 47), (1, 48), (2, 1)]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_gone_back_from_it_is_the_training_without_those_batches(accumulate: int, tmp_path: Path):
    """From the checkpoint on, from scratch with the same resolved spec, and by train.py: equal bits."""
    spec = resolved(body(LATE, nan_loss="roll_back", gradient_accumulation_steps=accumulate))
    written, failed = attempt(spec, tmp_path / "first")
    training = spec.training.model_copy(update={"skip_batches": tuple(map(tuple, failed.skip_batches))})
    spec = spec.model_copy(update={"training": training})

    _, resumed = attempt(spec, tmp_path / "second", resume=written[-1].directory, rollbacks=1)
    _, scratch = attempt(spec, tmp_path / "third")

    assert isinstance(resumed, Succeeded)
    assert isinstance(scratch, Succeeded)
    weights = [load_file(Path(each.directory) / "model.safetensors") for each in (resumed, scratch)]
    weights.append(program_weights(spec, tmp_path))
    for name, tensor in weights[0].items():
        assert all(torch.equal(tensor, other[name]) for other in weights[1:]), name


def test_weights_that_overflow_are_in_no_checkpoint(tmp_path: Path):
    """The first loss is a number still; the step after it leaves weights that are none. Nothing is written of them, and the step is named."""
    changes = {
        "loss": {"type": "CrossEntropyLoss", "reduction": "sum"},
        "optimizer": {"type": "SGD", "lr": 3e38},
        "dataloader": {"batch_size": 50},
        "checkpoint": {"every_n_steps": 1},
    }

    written, failed = attempt(resolved(body(LATE, nan_loss="roll_back") | changes), tmp_path)

    assert written == []
    assert failed.message == "The weights are no numbers at step 1 (batch 1 of epoch 1)."
    assert failed.skip_batches == [[0, 0]]

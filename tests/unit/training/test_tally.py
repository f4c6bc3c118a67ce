"""What an epoch's batches add up to: means over samples, the same bits wherever it is read, and the first loss that is no number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.checking import resolved
from worker.training.deciding import Decision
from worker.training.facts import EpochDone
from worker.training.loop import train
from worker.training.preparing import prepare
from worker.training.tally import Tally

LOSSES = [0.1, 0.7, 1.3]
SIZES = [4, 4, 1]

ONE_OF_SEVERAL = Decision("classification", 0.0, 1)


def batch(size: int, *, right: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs of two classes and labels, of which the first so many are right."""
    labels = torch.zeros(size, dtype=torch.int64)
    outputs = torch.tensor([[1.0, 0.0]] * right + [[0.0, 1.0]] * (size - right))
    return outputs, labels


def added(tally: Tally, *, read: bool) -> Tally:
    """Three batches, the last one smaller; read after each, or not at all."""
    for loss, size in zip(LOSSES, SIZES, strict=True):
        tally.add(torch.tensor(loss), *batch(size, right=1))
        if read:
            tally.state_dict()
    return tally


@pytest.mark.parametrize(("loss_is_sum", "mean"), [(False, (4 * 0.1 + 4 * 0.7 + 1.3) / 9), (True, (0.1 + 0.7 + 1.3) / 9)])
def test_means_are_over_samples(loss_is_sum: bool, mean: float):
    """A smaller batch weighs less; a loss that is a sum already weighs as it is."""
    tally = added(Tally(decision=ONE_OF_SEVERAL, loss_is_sum=loss_is_sum), read=False)

    assert tally.samples == 9
    assert tally.metrics() == {"train_loss": pytest.approx(mean), "train_accuracy": pytest.approx(3 / 9)}


def test_reading_in_between_changes_no_bit():
    """A checkpoint may cut the epoch anywhere."""
    whole, cut = (added(Tally(decision=ONE_OF_SEVERAL, loss_is_sum=False), read=read) for read in (False, True))
    resumed = Tally(decision=ONE_OF_SEVERAL, loss_is_sum=False)
    resumed.load_state_dict(cut.state_dict())

    assert whole.metrics() == cut.metrics() == resumed.metrics()


def test_the_first_loss_that_is_no_number_is_named_by_its_batch():
    """By its number in the epoch, also where the attempt began in the middle of it."""
    tally = Tally(decision=None, loss_is_sum=False)
    tally.start(7)
    for loss in (1.0, float("inf"), float("nan")):
        tally.add(torch.tensor(loss), *batch(2, right=0))

    assert tally.wrong() == (8, float("inf"))
    tally.start(0)
    assert tally.wrong() is None


def marked(accumulated: int, *, read_every: int, loss_is_sum: bool = False) -> list[tuple[int, int, float, float]]:
    """Ten batches of growing loss, so many to a step (the last one smaller), every second step marked; read after so many batches."""
    tally, step, first = Tally(decision=None, loss_is_sum=loss_is_sum, accumulated=accumulated), 0, 0
    for number in range(1, 11):
        tally.add(torch.tensor(float(number)), *batch(2, right=0))
        if number % read_every == 0:
            tally.fold()
        if number - first == accumulated or number == 10:
            step, members, first = step + 1, number - first, number
            if step % 2 == 0:
                tally.mark(step=step, epoch=1, batches=members, lr=0.1 * step)
    logged = tally.logged()
    assert tally.logged() == []
    return logged


@pytest.mark.parametrize("read_every", [1, 2, 3, 7, 100])
def test_a_steps_loss_is_the_mean_of_its_batches(read_every: int):
    """Wherever the batches are read in between, and of a last, smaller step its own mean."""
    assert [(step, loss) for step, _, loss, _ in marked(1, read_every=read_every)] == [(2, 2), (4, 4), (6, 6), (8, 8), (10, 10)]
    assert [(step, loss) for step, _, loss, _ in marked(3, read_every=read_every)] == [(2, 5), (4, 10)]
    assert [(step, loss) for step, _, loss, _ in marked(4, read_every=read_every)] == [(2, 6.5)]
    assert marked(4, read_every=read_every, loss_is_sum=True) == [(2, 1, 3.25, 0.2)]


def test_an_epochs_seconds_last_until_the_device_is_done(monkeypatch: pytest.MonkeyPatch):
    """On a GPU the host is steps ahead: what is waited for at the end is the epoch's time, and speed is told by it."""
    layers = ["Flatten", {"type": "Linear", "out_features": 10}]
    body = {"dataset": {"type": "Digits", "limit": 64}, "model": {"type": "Sequential", "layers": layers}, "loss": "CrossEntropyLoss"}
    run = prepare(resolved(body | {"optimizer": "SGD", "epochs": 2, "resources": {"threads": 1}}), datasets_dir=Path())
    waited = 0.0
    fold = run.tally.fold

    def slow() -> None:
        nonlocal waited
        waited += 100.0 if run.tally._losses else 0.0
        fold()

    monkeypatch.setattr(run.tally, "fold", slow)
    monkeypatch.setattr("worker.training.loop.time.perf_counter", lambda: waited)

    assert [fact.train_seconds for fact in train(run) if isinstance(fact, EpochDone)] == [100.0, 100.0]

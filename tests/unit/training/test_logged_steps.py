"""The loss of single steps as a trainer tells it: that of the textbook's loop, at no cost to the weights."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from service.spec.job import JobSpec
from tests.checking import checked
from worker.training.curve import POINTS, log_every
from worker.training.facts import EpochDone, StepsLogged, from_line, to_line
from worker.training.loop import Run, train
from worker.training.preparing import prepare

DIGITS: dict[str, Any] = {
    "dataset": {"type": "Digits", "limit": 200},
    "dataloader": {"batch_size": 16},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "epochs": 2,
}


def run_of(tmp_path: Any, **changes: Any) -> Run:
    found = checked(DIGITS | changes)
    assert found.resolved_spec is not None, found.errors
    return prepare(JobSpec.model_validate(found.resolved_spec), datasets_dir=tmp_path)


def logged(run: Run) -> list[tuple[int, int, float, float]]:
    for fact in train(run):
        if isinstance(fact, EpochDone) and fact.epoch == run.spec.epochs:
            return run.tally.logged()
    raise AssertionError("the training has no end")


def by_hand(run: Run, *, accumulate: int = 1) -> list[float]:
    """The mean loss of each step, by the loop that one would write: `.item()` for each batch."""
    losses, group = [], []
    spec, model, optimizer = run.spec, run.model, run.optimizer
    for _ in range(spec.epochs):
        order = run.order.start()
        batches = list(order.split(spec.dataloader.batch_size))
        for at, batch in enumerate(batches):
            samples = [run.splits.train[int(index)] for index in batch]
            inputs = torch.stack([torch.as_tensor(_pixels(image)) for image, _ in samples])
            loss = run.loss_fn(model(inputs), torch.tensor([label for _, label in samples]))
            members = min(accumulate, len(batches) - at // accumulate * accumulate)
            (loss / members).backward()
            group.append(loss.item())
            if len(group) == members:
                optimizer.step()
                optimizer.zero_grad()
                losses.append(sum(group) / members)
                group = []
        run.order.end()
    return losses


def _pixels(image: Any) -> torch.Tensor:
    from torchvision.transforms import v2

    return v2.functional.to_dtype(v2.functional.to_image(image), torch.float32, scale=True)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_steps_loss_is_the_textbooks(tmp_path: Any, accumulate: int):
    """Each step of both epochs, also where several batches make one, and where the last step has fewer."""
    training = {"log_every_n_steps": 1, "gradient_accumulation_steps": accumulate}

    told = logged(run_of(tmp_path, training=training))
    wanted = by_hand(run_of(tmp_path, training=training), accumulate=accumulate)

    steps = -(-13 // accumulate)
    assert [step for step, _, _, _ in told] == list(range(1, 2 * steps + 1))
    assert [epoch for _, epoch, _, _ in told] == [1] * steps + [2] * steps
    assert [loss for _, _, loss, _ in told] == pytest.approx(wanted, rel=1e-6)
    assert {lr for _, _, _, lr in told} == {0.1}


def test_the_learning_rate_is_the_one_that_the_step_was_made_with(tmp_path: Any):
    """A schedule that moves each step is seen one by one, from the first."""
    schedule = {"type": "ExponentialLR", "gamma": 0.5, "interval": "step"}
    told = logged(run_of(tmp_path, lr_scheduler=schedule, training={"log_every_n_steps": 1}))

    assert [lr for _, _, _, lr in told] == pytest.approx([0.1 * 0.5**step for step in range(26)])


@pytest.mark.parametrize("every", [1, 5, 1000])
def test_logging_changes_no_bit_of_the_weights(tmp_path: Any, every: int):
    """However often."""
    weights = []
    for training in ({"log_every_n_steps": every}, {}):
        run = run_of(tmp_path, training=training)
        logged(run)
        weights.append(run.model.state_dict())

    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("samples", "epochs", "asked", "every"),
    [
        (1000, 10, None, 1),
        (60_000, 5, None, 3),  # 4,690 steps
        (60_000, 1000, None, 469),
        (60_000, 5, 1, 1),
        (60_000, 5, 7, 7),
        (60_000, 1000, 1, 10),  # 938,000 steps
        (60_000, 1000, 4, 12),
    ],
)
def test_a_job_logs_two_thousand_steps_or_as_it_asks_and_never_too_many(samples: int, epochs: int, asked: int | None, every: int):
    """A multiple of what is asked for, so that no more than 100,000 come of it."""
    spec = JobSpec.model_validate(
        DIGITS | {"dataset": "MNIST", "dataloader": {"batch_size": 64}, "epochs": epochs, "training": {"log_every_n_steps": asked}}
    )
    steps = epochs * -(-samples // 64)

    assert log_every(spec, samples) == every
    assert steps // every <= (100_000 if asked else POINTS)


@pytest.mark.parametrize("column", [["[1"], [[1, 2]], [True], [None], [1, 2], {"a": 1}])
def test_what_are_no_numbers_is_no_fact(column: Any):
    """Custom code may say anything; it never gets as far as the store."""
    line = json.dumps({"fact": "StepsLogged", "steps": [1], "epochs": [1], "losses": column, "lrs": [0.1]}).encode()

    with pytest.raises(ValueError, match="not a fact"):
        from_line(line)


def test_steps_go_up_the_pipe_as_columns():
    """And come out as rows."""
    fact = StepsLogged(steps=[3, 6], epochs=[1, 2], losses=[0.5, 0.25], lrs=[0.1, 0.1])

    arrived = from_line(to_line(fact))

    assert isinstance(arrived, StepsLogged)
    assert arrived.rows() == [(3, 1, 0.5, 0.1), (6, 2, 0.25, 0.1)]

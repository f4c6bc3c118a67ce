"""Which run is said to be the best."""

from __future__ import annotations

from typing import Any

import pytest

from service.dashboard.scoring import from_best, scores


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("val_loss", [0.3, 0.2, None], {1}),
        ("val_accuracy", [0.3, 0.2, 0.3], {0, 2}),
        ("val_f1_score", [0.3, 0.9], {1}),
        ("val_mean_squared_error", [3.0, 0.9], {1}),
        ("peak_memory_bytes", [3.0, 9.0], {0}),
        ("samples_per_second", [3.0, 9.0], {1}),
        ("lr", [0.1, 0.2], set()),
        ("val_loss", [0.3, None], set()),
        ("val_loss", [0.3, 0.3], set()),
    ],
)
def test_the_best_is_marked_by_which_way_a_value_improves_and_only_where_values_differ(name: str, values: list[Any], best: set[int]):
    row = next(each for each in scores([{name: value} if value is not None else {} for value in values]) if each.name == name)

    assert row.values == values
    assert row.best == best


def test_losses_and_accuracies_of_unseen_data_are_read_first():
    found = scores([dict.fromkeys(["lr", "train_loss", "val_f1_score", "val_accuracy", "val_loss", "test_accuracy"], 1.0)])

    assert [each.name for each in found] == ["test_accuracy", "val_loss", "val_accuracy", "val_f1_score", "train_loss", "lr"]


@pytest.mark.parametrize(
    ("name", "order"),
    [("val_loss", [1, 0, 2]), ("val_accuracy", [0, 1, 2]), ("lr", [1, 0, 2]), ("nothing", [0, 1, 2])],
)
def test_runs_are_put_in_order_from_the_best_and_those_without_the_metric_last(name: str, order: list[int]):
    runs = [{"val_loss": 0.3, "val_accuracy": 0.9, "lr": 0.2}, {"val_loss": 0.2, "val_accuracy": 0.8, "lr": 0.1}, {}]

    assert from_best(runs, name) == order

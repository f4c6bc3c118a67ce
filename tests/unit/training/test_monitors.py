"""What `checkpoint.monitor`, early stopping and ReduceLROnPlateau can watch: whatever is one number after an epoch, in train.py too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from service.spec.catalog import load
from service.spec.monitors import better, gives_one_number
from service.spec.training import Evaluation
from tests.checking import checked, resolved
from tests.programs import weights_here
from worker.training.build import build_metrics
from worker.training.deciding import Decision
from worker.training.evaluate import _taken, observed
from worker.training.facts import EpochDone
from worker.training.loop import train
from worker.training.preparing import prepare

CLASSES: dict[str, Any] = {
    "seed": 6,
    "dataset": {"type": "Digits", "limit": 100, "validation_split": 0.3},
    "dataloader": {"batch_size": 16},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.3},
    "epochs": 5,
    "resources": {"threads": 1},
}
NUMBERS = CLASSES | {
    "dataset": CLASSES["dataset"] | {"target": "value"},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 1}]},
    "loss": "MSELoss",
    "optimizer": {"type": "Adam", "lr": 0.05},
}
IMAGES = NUMBERS | {
    "dataset": CLASSES["dataset"] | {"target": "input"},
    "model": {"type": "Sequential", "layers": [{"type": "Conv2d", "out_channels": 1, "kernel_size": 3, "padding": 1}]},
}
PLAIN = "train_loss, train_accuracy, val_loss, val_accuracy"


def variants() -> list[dict[str, Any]]:
    """Every metric as its own defaults have it, and with each word that an argument can be."""
    found = []
    for name, entry in load()["metrics"].items():
        needed = {argument: 1.0 for argument, says in entry["args"].items() if "default" not in says}
        found.append({"type": name} | needed)
        choices = ((argument, each) for argument, says in entry["args"].items() for each in says.get("choices", []))
        found += [{"type": name} | needed | {argument: each} for argument, each in choices]
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("metric", variants(), ids=str)
def test_a_metric_is_one_number_exactly_where_the_catalog_says_so(metric: dict[str, Any]):
    """Measured for real; and torchmetrics says which way it gets better."""
    (declared,) = Evaluation.model_validate({"metrics": [metric]}).metrics
    by_class = load()["metrics"][declared.type]["task"] == "classification"
    decision = Decision("classification", 0.0, 1) if by_class else None
    (made,) = build_metrics([declared], task="classification" if by_class else "regression", num_classes=3).values()
    outputs, labels, targets = (
        torch.linspace(0.1, 0.9, 36).reshape(12, 3),
        torch.arange(12) % 3,
        torch.linspace(0.9, 0.2, 36).reshape(12, 3),
    )

    made.update(*observed(type(made).__name__, outputs, labels, targets, decision=decision))

    assert gives_one_number(declared) == isinstance(_taken(made), float)
    assert {True: "max", False: "min", None: None}[made.higher_is_better] == load()["metrics"][declared.type]["better"]


@pytest.mark.parametrize(
    ("name", "way"),
    [("val_loss", "min"), ("train_accuracy", "max"), ("val_auroc", "max"), ("val_log_cosh_error", "min"), ("val_roc", None)],
)
def test_which_way_a_value_improves_is_known(name: str, way: str | None):
    """A mode against it is warned of, wherever it stands."""
    assert better(name) == way


@pytest.mark.parametrize(
    ("body", "metrics", "monitor", "code", "would_do"),
    [
        (CLASSES, [], "val_f1_score", "not_measured", f"Add F1Score to evaluation.metrics. What can be watched here: {PLAIN}."),
        (CLASSES, ["ConfusionMatrix", "AUROC"], "val_confusion_matrix", "not_one_number", f"What can be watched here: {PLAIN}, val_auroc."),
        (CLASSES, [{"type": "F1Score", "average": "none"}], "val_f1_score", "not_one_number", f"What can be watched here: {PLAIN}."),
        (CLASSES, [{"type": "Accuracy", "average": "none"}], "val_accuracy", "not_one_number", "What can be watched here: train_loss, train_accuracy, val_loss."),
        (CLASSES, ["AUROC"], "val_auorc", "unknown_monitor", f"Did you mean `val_auroc`? What can be watched here: {PLAIN}, val_auroc."),
        (CLASSES, ["AUROC"], "auroc", "unknown_monitor", f"Did you mean `val_auroc`? What can be watched here: {PLAIN}, val_auroc."),
        (CLASSES, [], "test_loss", "unknown_monitor", f"What can be watched here: {PLAIN}."),
        (NUMBERS, [], "val_accuracy", "no_accuracy", "Watch val_loss with mode: min."),
        (CLASSES | {"dataset": "Digits"}, ["AUROC"], "val_auroc", "no_validation_split", "Set dataset.validation_split, for example to 0.1."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["/checkpoint", "/training/early_stopping", "/lr_scheduler"])
def test_what_cannot_be_watched_is_refused_with_what_can(
    place: str, body: dict[str, Any], metrics: list[Any], monitor: str, code: str, would_do: str
):
    """At POST, whoever watches."""
    watching = {
        "/checkpoint": {"checkpoint": {"monitor": monitor}},
        "/training/early_stopping": {"training": {"early_stopping": {"monitor": monitor}}},
        "/lr_scheduler": {"lr_scheduler": {"type": "ReduceLROnPlateau", "monitor": monitor}},
    }

    (fault,) = checked(body | {"evaluation": {"metrics": metrics}} | watching[place]).errors

    assert (fault.pointer, fault.code) == (f"{place}/monitor", code)
    assert (fault.suggestion or "").endswith(would_do)


def watched_by_all(body: dict[str, Any], metrics: list[Any], *monitors: str, mode: str) -> dict[str, Any]:
    """A spec whose best checkpoint, early stopping and plateau watch these, in that order."""
    best, stop, plateau = monitors
    return body | {
        "evaluation": {"metrics": metrics},
        "checkpoint": {"monitor": best, "mode": mode},
        "training": {"early_stopping": {"monitor": stop, "mode": mode, "patience": 2}},
        "lr_scheduler": {"type": "ReduceLROnPlateau", "monitor": plateau, "mode": mode, "patience": 0},
    }


@pytest.mark.parametrize(
    "body",
    [
        watched_by_all(CLASSES, [{"type": "Accuracy", "average": "macro"}, "F1Score"], "val_accuracy", "val_f1_score", "val_f1_score", mode="max"),
        watched_by_all(IMAGES, ["R2Score", "CosineSimilarity"], "val_r2_score", "val_r2_score", "val_cosine_similarity", mode="max"),
        watched_by_all(NUMBERS, ["MeanAbsoluteError"], "val_mean_absolute_error", "val_loss", "train_loss", mode="min"),
    ],
    ids=["classes", "images", "numbers"],
)  # fmt: skip
def test_the_program_watches_the_same(body: dict[str, Any], tmp_path: Path):
    """The best epoch, the epoch of the stop and every rate are as here, or the weights would differ."""
    run = prepare(resolved(body), datasets_dir=Path(), resume=None)
    rows = [fact.metrics for fact in train(run) if isinstance(fact, EpochDone)]
    monitor = run.spec.checkpoint.monitor
    pick = max if run.spec.checkpoint.mode == "max" else min
    assert run.position.best is not None
    assert run.position.best["value"] == pick(row[str(monitor)] for row in rows)

    again = weights_here(run.spec, tmp_path)

    assert run.position.best_weights is not None
    assert all(again[name].equal(value) for name, value in run.position.best_weights.items())


@pytest.mark.filterwarnings("ignore:The variance of predictions or target")
def test_a_value_that_is_no_number_is_no_improvement(tmp_path: Path):
    """One sample has no correlation: training goes on until patience ends, and the job's model is the last epoch's; so in train.py."""
    one = NUMBERS | {"dataset": NUMBERS["dataset"] | {"limit": 20, "validation_split": 0.05}}
    name = "val_pearson_corr_coef"
    run = prepare(resolved(watched_by_all(one, ["PearsonCorrCoef"], name, name, name, mode="max")), datasets_dir=Path(), resume=None)

    rows = [fact.metrics for fact in train(run) if isinstance(fact, EpochDone)]

    assert len(rows) == 2
    assert name not in rows[0]
    assert run.position.best is None
    again = weights_here(run.spec, tmp_path)
    assert all(again[name].equal(value) for name, value in run.model.state_dict().items())
    assert math.isclose(run.optimizer.param_groups[0]["lr"], 0.0005)

"""The files below evaluation/: numbers on both splits, tables and pictures of what the model answers, by the job's task."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from worker.training import plots
from worker.training.answers import each_class
from worker.training.brought import test_rows
from worker.training.evaluate import Evaluation
from worker.training.files import write_json
from worker.training.judging import Judgement, class_names
from worker.training.loop import Run
from worker.training.mistakes import as_rows


class Shown(NamedTuple):
    """A file that the model card shows, or, where it is a table, names. `path` is from the card's folder."""

    title: str
    path: str


def write_evaluation(run: Run, judgement: Judgement, folder: Path) -> list[Shown]:
    """Every file of the evaluation, into a folder that is there; what of them is for people to look at."""
    write_json(folder / "metrics.json", _measured(run, judgement))
    shown = [*_confusion(run, judgement.test, folder), *_looks(run, judgement, folder), *_most_wrong(run, judgement, folder)]
    return [Shown(title, f"evaluation/{name}") for title, name in shown]


def _measured(run: Run, judgement: Judgement) -> dict[str, Any]:
    classes, splits = class_names(run), {"test": judgement.test, "val": judgement.validation}
    measured: dict[str, Any] = {}
    for name, evaluation in splits.items():
        if evaluation is not None:
            measured |= evaluation.scalars(name) | {f"{name}_{metric}": value for metric, value in evaluation.metrics.items()}
    return measured | {f"{name}_per_class": each for name, evaluation in splits.items() if (each := _per_class(evaluation, classes))}


def _per_class(evaluation: Evaluation | None, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [] if evaluation is None or evaluation.confusion is None else list(each_class(evaluation.confusion, classes))


def _confusion(run: Run, test: Evaluation | None, folder: Path) -> Iterator[Shown]:
    if test is None or test.confusion is None:
        return
    _write_confusion(folder / "confusion_matrix.csv", test.confusion)
    plots.draw_confusion(test.confusion, class_names(run), folder / "confusion_matrix.png")
    yield Shown("Confusion matrix", "confusion_matrix.png")


def _looks(run: Run, judgement: Judgement, folder: Path) -> Iterator[Shown]:
    names, looks = class_names(run), judgement.looks
    if looks.fits is not None:
        plots.draw_fits(looks.fits.fits(), names, folder / "predicted_vs_true.png")
        yield Shown("Predicted and true numbers", "predicted_vs_true.png")
    if looks.labels is not None:
        each = looks.labels.each(names)
        _write_table(folder / "per_label.csv", each)
        plots.draw_labels(each, folder / "per_label.png")
        yield Shown("Each label", "per_label.png")
    if looks.thresholds is not None and plots.draw_thresholds(looks.thresholds.counts(), folder / "thresholds.png"):
        yield Shown("Other thresholds", "thresholds.png")


def _most_wrong(run: Run, judgement: Judgement, folder: Path) -> Iterator[Shown]:
    names, dataset = class_names(run), run.spec.dataset
    rows = as_rows(judgement.looks.mistakes(), dataset, names=names, rows=test_rows(dataset))
    if not rows:
        return
    _write_table(folder / "most_wrong.csv", rows)
    if plots.draw_most_wrong(run.splits.test, rows, folder / "most_wrong.png"):
        yield Shown("The most wrong samples", "most_wrong.png")
    yield Shown("The most wrong samples as a table", "most_wrong.csv")


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """At least one row; all have the same columns."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def _write_confusion(path: Path, confusion: torch.Tensor) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["true\\predicted", *range(len(confusion))])
        for label, counts in enumerate(confusion.tolist()):
            table.writerow([label, *counts])

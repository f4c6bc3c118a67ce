"""What a job's evaluation left in storage, read for its page: scores by split, scores by class, confusion matrix, pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service import use_cases
from service.jobs.job import Job
from service.use_cases import Services

MOST_CLASSES = 30
"""A larger confusion matrix is shown as its picture."""
PICTURES = {
    "plots/curves.png": "Curves over all epochs",
    "evaluation/confusion_matrix.png": "Confusion matrix",
    "evaluation/predicted_vs_true.png": "Predicted against true values",
    "evaluation/per_label.png": "Scores of each label",
    "evaluation/thresholds.png": "What other thresholds would give",
    "evaluation/most_wrong.png": "The test images that the model is most wrong about",
}


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A confusion matrix: a row for each true class, a column for each predicted one."""

    names: Sequence[str]
    rows: Sequence[Sequence[int]]

    def share(self, row: int, column: int) -> float:
        """Of the samples of a class, how many were taken for that one: 0-1."""
        total = sum(self.rows[row])
        return self.rows[row][column] / total if total else 0.0


@dataclass(frozen=True, kw_only=True)
class Results:
    """What there is to show; each part may be missing."""

    scores: Mapping[str, Mapping[str, float]]
    """By split, then by metric."""
    classes: Sequence[Mapping[str, Any]]
    """{class, precision, recall, f1, support} of the test samples."""
    matrix: Matrix | None
    pictures: Mapping[str, str]


def results_of(job: Job, *, services: Services) -> Results | None:
    """The evaluation of an ended job; None where it left none. Raises JobNotFound, Unavailable."""
    if not job.is_terminal:
        return None
    there = {file["path"] for file in use_cases.manifest(job, artifacts=services.artifacts)}
    if "evaluation/metrics.json" not in there:
        return None

    def text(path: str) -> str:
        return b"".join(use_cases.read_artifact(job, path, start=0, end=None, artifacts=services.artifacts)).decode()

    matrix = _matrix(text("evaluation/confusion_matrix.csv")) if "evaluation/confusion_matrix.csv" in there else None
    pictures = {path: words for path, words in PICTURES.items() if path in there and path != "plots/curves.png"}
    if matrix is not None:
        pictures.pop("evaluation/confusion_matrix.png", None)
    told = json.loads(text("evaluation/metrics.json"))
    return Results(scores=by_split(told), classes=told.get("test_per_class", []), matrix=matrix, pictures=pictures)


def by_split(metrics: Mapping[str, Any]) -> Mapping[str, Mapping[str, float]]:
    """{val_loss, test_loss} as {val: {loss}, test: {loss}}; what is no number is left out."""
    found: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        split, _, metric = name.partition("_")
        if isinstance(value, int | float):
            found.setdefault(split, {})[metric] = value
    return found


def _matrix(text: str) -> Matrix | None:
    header, *rows = csv.reader(io.StringIO(text))
    if len(rows) > MOST_CLASSES:
        return None
    return Matrix(names=header[1:], rows=[[int(float(cell)) for cell in row[1:]] for row in rows])

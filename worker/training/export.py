"""What the user takes home, written into a folder: weights, the program, the spec, the environment, the evaluation."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from service.killpoints import KillPoint, passing
from worker.training.environment import environment
from worker.training.evaluate import Evaluation
from worker.training.files import save_weights
from worker.training.loop import Run
from worker.training.script import render


def export(run: Run, evaluation: Evaluation, folder: Path, *, threads: int, inexact: Sequence[str] = ()) -> None:
    """Write every artifact that needs the model. `run.judged` holds the weights that are the job's."""
    (folder / "evaluation").mkdir(parents=True)
    save_weights(run.judged.state_dict(), folder / "model.safetensors")
    passing(KillPoint.EXPORTING)
    about = environment(threads=threads, device=run.device) | {"exact": not inexact, "inexact_because": list(inexact)}
    (folder / "train.py").write_text(render(run.spec, about))
    _write_json(folder / "resolved_spec.json", run.spec.model_dump(mode="json"))
    _write_json(folder / "environment.json", about)
    if run.splits.preprocessing is not None:
        _write_json(folder / "preprocessing.json", run.splits.preprocessing)
    others = {f"test_{name}": value for name, value in evaluation.metrics.items()}
    _write_json(folder / "evaluation" / "metrics.json", {**evaluation.scalars("test"), **others})
    if evaluation.confusion is not None:
        _write_confusion(folder / "evaluation" / "confusion_matrix.csv", evaluation.confusion)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _write_confusion(path: Path, confusion: torch.Tensor) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["true\\predicted", *range(len(confusion))])
        for label, counts in enumerate(confusion.tolist()):
            table.writerow([label, *counts])

"""What a finished training leaves in its folder: weights, the program, the spec, the environment, the evaluation, plots, a model card."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from service.killpoints import KillPoint, passing
from service.spec.export import Exported
from worker.training.answers import each_class
from worker.training.card import card, config
from worker.training.data import Batches
from worker.training.environment import environment
from worker.training.evaluate import Evaluation
from worker.training.files import save_weights
from worker.training.history import Row, write_events
from worker.training.judging import Judgement, class_names
from worker.training.loop import Run
from worker.training.plots import draw_confusion, draw_curves, draw_most_wrong
from worker.training.script import render


def export(
    run: Run,
    judgement: Judgement,
    folder: Path,
    *,
    threads: int,
    rows: Sequence[Row] = (),
    inexact: Sequence[str] = (),
    exported: Mapping[str, Exported] | None = None,
) -> None:
    """Write every artifact that needs the model. `run.judged` holds the weights that are the job's; `rows` are the whole job's epochs."""
    (folder / "evaluation").mkdir(parents=True, exist_ok=True)
    save_weights(run.judged.state_dict(), folder / "model.safetensors")
    passing(KillPoint.EXPORTING)
    about = environment(threads=threads, device=run.device) | {"exact": not inexact, "inexact_because": list(inexact)}
    (folder / "train.py").write_text(render(run.spec, about))
    _write_json(folder / "resolved_spec.json", run.spec.model_dump(mode="json"))
    _write_json(folder / "environment.json", about)
    if run.splits.preprocessing is not None:
        _write_json(folder / "preprocessing.json", run.splits.preprocessing)
    _write_evaluation(run, judgement, folder / "evaluation")
    _write_history(rows, judgement, folder)
    epochs = int(rows[-1]["epoch"]) if rows else run.spec.epochs
    _write_card(run, judgement, folder, epochs=epochs, about=about, exported=exported or {})


def _write_evaluation(run: Run, judgement: Judgement, folder: Path) -> None:
    classes, splits = class_names(run), {"test": judgement.test, "val": judgement.validation}
    measured: dict[str, Any] = {}
    for name, evaluation in splits.items():
        if evaluation is not None:
            measured |= evaluation.scalars(name) | {f"{name}_{metric}": value for metric, value in evaluation.metrics.items()}
    measured |= {f"{name}_per_class": each for name, evaluation in splits.items() if (each := _per_class(evaluation, classes))}
    _write_json(folder / "metrics.json", measured)
    confusion = judgement.test.confusion
    if confusion is not None:
        _write_confusion(folder / "confusion_matrix.csv", confusion)
        draw_confusion(confusion, classes, folder / "confusion_matrix.png")
    draw_most_wrong(run.splits.test, judgement.mistakes, classes, folder / "most_wrong.png")


def _per_class(evaluation: Evaluation | None, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [] if evaluation is None or evaluation.confusion is None else list(each_class(evaluation.confusion, classes))


def _write_history(rows: Sequence[Row], judgement: Judgement, folder: Path) -> None:
    if rows:
        (folder / "plots").mkdir()
        draw_curves(rows, folder / "plots" / "curves.png")
    write_events(rows, judgement.scores(), folder / "tensorboard", at=time.time())


def _write_card(
    run: Run, judgement: Judgement, folder: Path, *, epochs: int, about: Mapping[str, Any], exported: Mapping[str, Exported]
) -> None:
    """README.md and config.json, and how far each exported file is from the model."""
    device = next(run.judged.parameters(), torch.empty(0)).device
    ((inputs, _),) = Batches(run.splits.test, run.spec, device=device).over([torch.arange(1)])
    with torch.inference_mode():
        outputs = run.judged.eval()(inputs)
    classes = class_names(run)
    _write_json(folder / "config.json", config(run.spec, sample=inputs[0], outputs=outputs.shape[1:], classes=classes))
    text = card(
        run.spec,
        scores=judgement.scores(),
        sample=inputs[0],
        classes=classes,
        digest=run.splits.digest,
        epochs=epochs,
        about=about,
        exported=exported,
    )
    (folder / "README.md").write_text(text)
    if run.spec.export:
        _write_json(folder / "exports.json", {path: each.model_dump(mode="json") for path, each in exported.items()})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _write_confusion(path: Path, confusion: torch.Tensor) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["true\\predicted", *range(len(confusion))])
        for label, counts in enumerate(confusion.tolist()):
            table.writerow([label, *counts])

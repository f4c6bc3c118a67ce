"""What a finished training leaves in its folder: weights, the program, the spec, the environment, the evaluation, plots, a model card."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from service.killpoints import KillPoint, passing
from service.spec.export import Exported
from worker.training.card import card, config
from worker.training.data import Batches
from worker.training.environment import environment
from worker.training.evaluation import Shown, write_evaluation
from worker.training.files import save_weights, write_json
from worker.training.history import Row, write_events
from worker.training.judging import Judgement, class_names
from worker.training.loop import Run
from worker.training.plots import draw_curves
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
    write_json(folder / "resolved_spec.json", run.spec.model_dump(mode="json"))
    write_json(folder / "environment.json", about)
    if run.splits.preprocessing is not None:
        write_json(folder / "preprocessing.json", run.splits.preprocessing)
    shown = [*_write_history(rows, judgement, folder), *write_evaluation(run, judgement, folder / "evaluation")]
    epochs = int(rows[-1]["epoch"]) if rows else run.spec.epochs
    _write_card(run, judgement, folder, epochs=epochs, about=about, exported=exported or {}, shown=shown)


def _write_history(rows: Sequence[Row], judgement: Judgement, folder: Path) -> list[Shown]:
    write_events(rows, judgement.scores(), folder / "tensorboard", at=time.time())
    if not rows:
        return []
    (folder / "plots").mkdir()
    draw_curves(rows, folder / "plots" / "curves.png")
    return [Shown("Training curves", "plots/curves.png")]


def _write_card(
    run: Run,
    judgement: Judgement,
    folder: Path,
    *,
    epochs: int,
    about: Mapping[str, Any],
    exported: Mapping[str, Exported],
    shown: Sequence[Shown],
) -> None:
    """README.md and config.json, and how far each exported file is from the model."""
    device = next(run.judged.parameters(), torch.empty(0)).device
    ((inputs, _),) = Batches(run.splits.test, run.spec, device=device).over([torch.arange(1)])
    with torch.inference_mode():
        outputs = run.judged.eval()(inputs)
    classes = class_names(run)
    write_json(folder / "config.json", config(run.spec, sample=inputs[0], outputs=outputs.shape[1:], classes=classes))
    text = card(
        run.spec,
        scores=judgement.scores(),
        sample=inputs[0],
        classes=classes,
        digest=run.splits.digest,
        epochs=epochs,
        about=about,
        exported=exported,
        shown=shown,
    )
    (folder / "README.md").write_text(text)
    if run.spec.export:
        write_json(folder / "exports.json", {path: each.model_dump(mode="json") for path, each in exported.items()})

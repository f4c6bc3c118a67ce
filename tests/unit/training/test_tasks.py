"""Every task on real data that ships with scikit-learn: a stated score is reached, and train.py gives the same weights."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from service.spec.job import JobSpec
from tests.checking import checked
from tests.programs import weights_here
from tests.unit.ingest.corpus import csv, npz, zipped
from tests.unit.training.test_brought import brought
from worker.training.data import Batches, grouped
from worker.training.evaluate import Evaluation, evaluate
from worker.training.loop import train
from worker.training.preparing import prepare


def table(data: Any, words: Sequence[str] = ()) -> bytes:
    """A scikit-learn data set as CSV: its features, and `target`, in words where there are any."""
    targets = [words[at] for at in data.target] if words else data.target
    rows = (",".join([*(repr(float(value)) for value in row), str(target)]) for row, target in zip(data.data, targets, strict=True))
    return csv(",".join([*(name.replace(" ", "_") for name in data.feature_names), "target"]), *rows)


def parquet(data: Any) -> bytes:
    """The same as Parquet, the targets as whole numbers."""
    columns = {name.replace(" ", "_"): data.data[:, at] for at, name in enumerate(data.feature_names)}
    out = io.BytesIO()
    pq.write_table(pa.table({**columns, "target": data.target}), out)
    return out.getvalue()


def several_labels() -> bytes:
    """Digits: even, above four, with a loop."""
    digits = load_digits()
    labels = np.stack([digits.target % 2 == 0, digits.target > 4, np.isin(digits.target, (0, 6, 8, 9))], axis=1).astype(np.int64)
    return npz(images=np.rint(digits.images * (255 / 16)).astype(np.uint8), labels=labels, classes=np.array(["even", "above_four", "loop"]))


def layers(*sizes: int, flat: bool = False) -> dict[str, Any]:
    inner = [each for size in sizes[:-1] for each in ({"type": "Linear", "out_features": size}, "ReLU")]
    return {"type": "Sequential", "layers": [*(["Flatten"] if flat else []), *inner, {"type": "Linear", "out_features": sizes[-1]}]}


ADAM = {"type": "Adam", "lr": 0.01}
TASKS: dict[str, tuple[bytes, dict[str, Any], dict[str, Any]]] = {
    "binary": (
        table(load_breast_cancer(), ("malignant", "benign")),
        {"label_columns": ["target"], "target": "binary"},
        {
            "model": layers(16, 1),
            "loss": "BCEWithLogitsLoss",
            "optimizer": ADAM,
            "epochs": 20,
            "evaluation": {"metrics": ["Accuracy", "AUROC", "F1Score"]},
        },
    ),
    "classification": (
        table(load_wine(), ("barolo", "grignolino", "barbera")),
        {"label_columns": "target"},
        {"model": layers(16, 3), "loss": "CrossEntropyLoss", "optimizer": ADAM, "epochs": 30},
    ),
    "numbered classes": (
        parquet(load_wine()),
        {"label_columns": "target", "labels": "class"},
        {"model": layers(16, 3), "loss": "CrossEntropyLoss", "optimizer": ADAM, "epochs": 30},
    ),
    "regression": (
        table(load_diabetes()),
        {"label_columns": "target"},
        {
            "model": layers(32, 1),
            "loss": "MSELoss",
            "optimizer": {"type": "Adam", "lr": 0.05},
            "epochs": 60,
            "evaluation": {"metrics": ["R2Score", "MeanAbsoluteError"]},
        },
    ),
    "several targets": (
        table(load_diabetes()),
        {"label_columns": ["bmi", "bp"], "feature_columns": ["age", "s1", "s2", "s3", "s4", "s5", "s6"]},
        {"model": layers(32, 2), "loss": "L1Loss", "optimizer": ADAM, "epochs": 10, "evaluation": {"metrics": ["MeanAbsoluteError"]}},
    ),
    "multilabel": (
        several_labels(),
        {},
        {
            "model": layers(64, 3, flat=True),
            "loss": "BCEWithLogitsLoss",
            "optimizer": ADAM,
            "epochs": 15,
            "evaluation": {"metrics": ["Accuracy", "F1Score"]},
            "checkpoint": {"monitor": "val_accuracy", "mode": "max"},
        },
    ),
}
SCORES: dict[str, tuple[str, float]] = {
    "binary": ("accuracy", 0.95),
    "classification": ("accuracy", 0.94),
    "numbered classes": ("accuracy", 0.94),
    "regression": ("r2_score", 0.35),
    "several targets": ("mean_absolute_error", 0.0),
    "multilabel": ("accuracy", 0.97),
}
"""Of the test split. Ledoit's linear model has an R2 of some 0.4 to 0.5 on diabetes."""


def run_it(spec: JobSpec, top: Path) -> tuple[dict[str, torch.Tensor], Evaluation]:
    """The weights after training, and what the test split says of them."""
    run = prepare(spec, datasets_dir=top)
    for _ in train(run):
        pass
    if run.position.best_weights is not None:
        run.judged.load_state_dict(run.position.best_weights)
    batches = Batches(run.splits.test, spec, device=run.device).over(grouped(torch.arange(len(run.splits.test)), size=512))
    evaluation = evaluate(run.judged, run.loss_fn, batches, spec=spec, metrics=run.metrics)
    while True:
        try:
            next(evaluation)
        except StopIteration as end:
            return run.judged.state_dict(), end.value


@pytest.mark.parametrize("name", TASKS)
def test_a_task_reaches_its_score_and_train_py_its_weights(name: str, tmp_path: Path):
    upload, dataset, parts = TASKS[name]
    spec, top = brought(upload, tmp_path, dataset, **parts)

    ours, evaluation = run_it(spec, top)
    theirs = weights_here(spec, tmp_path, data=tmp_path / "files")

    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    scores = evaluation.scalars("test")
    value, least = SCORES[name]
    assert scores[f"test_{value}"] >= least, scores
    assert spec.dataset.task == {"several targets": "regression", "numbered classes": "classification"}.get(name, name)


MIXED = csv(
    "age,town,income,owner,label",
    *(
        f"{'' if at % 7 == 0 else 20 + at % 50},{('', 'Ulm', 'Bonn', 'Kiel')[at % 4]},{1000 + 13 * at},{('true', 'false')[at % 2]},{('no', 'yes')[at % 3 == 0]}"
        for at in range(90)
    ),
)


def test_what_is_unknown_is_filled_in_by_the_training_rows_alone(tmp_path: Path):
    spec, top = brought(MIXED, tmp_path, {"label_columns": "label"}, model=layers(2))

    run = prepare(spec, datasets_dir=top)
    ours, _ = run_it(spec, top)
    theirs = weights_here(spec, tmp_path, data=tmp_path / "files")

    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    told = run.splits.preprocessing
    assert told is not None
    assert [feature["name"] for feature in told["features"]] == ["age", "town", "income", "owner"]
    assert told["features"][1] == {"name": "town", "kind": "categorical", "values": ["Bonn", "Kiel", "Ulm"]}
    rows, _ = run.splits.train.batch(torch.arange(len(run.splits.train)))
    assert rows.shape == (58, 6)
    assert rows.dtype == torch.float32
    for column in (0, 4):
        assert abs(float(rows[:, column].mean())) < 1e-6
    assert abs(float(rows[:, 4].std(unbiased=False)) - 1) < 1e-6
    unknown_towns = rows[:, 1:4].sum(dim=1) == 0
    assert 10 < int(unknown_towns.sum()) < 20


def test_a_split_by_a_column_or_by_files_is_the_datas_own(tmp_path: Path):
    head, *rows = MIXED.decode().splitlines()
    by_file = zipped({f"{name}.csv": csv(head, *rows[at::3]) for at, name in enumerate(("train", "val", "test"))})
    places = ("train", "val", "test")
    by_column = csv(f"{head},split", *(f"{row},{places[at % 3]}" for at, row in enumerate(rows)))
    weights = []
    for name, upload in (("file", by_file), ("column", by_column)):
        (tmp_path / name).mkdir()
        spec, top = brought(upload, tmp_path / name, {"label_columns": "label"}, model=layers(2))
        weights.append(run_it(spec, top)[0])
        theirs = weights_here(spec, tmp_path / name, data=tmp_path / name / "files")
        assert all(torch.equal(weights[-1][key], theirs[key]) for key in theirs)
        assert spec.dataset.split_sizes == (30, 30)

    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no label named": ({}, "/dataset/label_columns", "no_label_columns"),
    "no such label": ({"label_columns": ["labell"]}, "/dataset/label_columns/0", "no_column"),
    "no such feature": ({"label_columns": "label", "feature_columns": ["age", "twon"]}, "/dataset/feature_columns/1", "no_column"),
    "label as feature": ({"label_columns": "label", "feature_columns": ["age", "label"]}, "/dataset/feature_columns/1", "leak"),
    "label unknown in rows": ({"label_columns": "age"}, "/dataset/label_columns/0", "label_missing"),
    "words as numbers": ({"label_columns": "label", "labels": "numbers"}, "/dataset/label_columns/0", "no_numbers"),
    "several classes": ({"label_columns": ["label", "owner"], "labels": "class"}, "/dataset/label_columns", "several_classes"),
    "numbers as labels": ({"label_columns": ["income", "owner"], "labels": "several"}, "/dataset/label_columns/0", "no_yes_or_no"),
    "transforms of images": ({"label_columns": "label", "transforms": ["ToImage"]}, "/dataset/transforms", "no_images"),
    "own targets of numbers": ({"label_columns": "income", "target": "one_hot"}, "/dataset/target", "no_classes"),
    "binary of three": ({"label_columns": "town3", "target": "binary"}, "/dataset/target", "not_two_classes"),
    "nothing to test on": ({"label_columns": "label", "test_split": 0.0}, "/dataset/test_split", "no_test_split"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_spec_asks_wrongly_of_a_table_is_a_fault_at_its_place(name: str, tmp_path: Path):
    dataset, pointer, code = WRONG[name]
    head, *rows = MIXED.decode().splitlines()
    wide = csv(f"{head},town3", *(f"{row},{'abc'[at % 3]}" for at, row in enumerate(rows)))
    spec, _ = brought(wide, tmp_path, {"label_columns": "label"}, model=layers(2))
    content: Mapping[str, Any] = spec.dataset.model_dump(mode="json")["content"]
    body = {"dataset": {"type": "Upload", "name": "ours", "version": "a" * 64, "content": content, **dataset}}
    body |= {"model": layers(2), "loss": "CrossEntropyLoss", "optimizer": "SGD", "epochs": 1}

    found = checked(body)

    assert not found.valid
    assert (pointer, code) in [(fault.pointer, fault.code) for fault in found.errors]
    assert all(fault.suggestion for fault in found.errors)

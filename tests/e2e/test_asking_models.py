"""Models asked about other data by a job without epochs: data without labels, and data whose classes stand in another order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from service.client.errors import BadRequest, Rejected
from service.client.evaluating import evaluation_of
from tests.e2e.stack import Stack
from tests.e2e.test_own_data_by_command import ADAM, assert_program_runs, layers
from tests.unit.ingest.corpus import csv, npz, zipped
from tests.unit.training.test_brought import png

DIGITS = load_digits()
PIXELS = np.rint(DIGITS.images * (255 / 16)).astype(np.uint8)
LATER = slice(600, 660)
Push = Callable[[str, bytes], None]


@pytest.fixture
def push(stack: Stack, tmp_path: Path) -> Push:
    """Uploads bytes, and waits until they are ready."""

    def send(name: str, data: bytes) -> None:
        (tmp_path / "upload").write_bytes(data)
        found = stack.client.wait_dataset(name, stack.client.push(name, tmp_path / "upload")["version"], timeout=60)
        assert found["state"] == "ready", found["flaws"]

    return send


def done(stack: Stack, spec: dict[str, Any]) -> dict[str, Any]:
    job = stack.client.wait(stack.client.submit(spec)["id"], timeout=60)
    assert job["state"] == "succeeded", job["error"]
    return job


def predictions(stack: Stack, job: dict[str, Any], folder: Path) -> dict[str, list[Any]]:
    stack.client.download(job["id"], folder / "home")
    return pq.read_table(folder / "home" / "evaluation" / "predictions.parquet").to_pydict()


def named_folders(digits: slice) -> bytes:
    return zipped({f"digit-{label}/{at:04}.png": png(PIXELS[digits][at]) for at, label in enumerate(DIGITS.target[digits])})


@pytest.fixture
def classifier(stack: Stack, push: Push) -> dict[str, Any]:
    """A job that learnt digits by folders whose names are words."""
    stack.have_worker()
    push("digits", named_folders(slice(0, 600)))
    spec = {"dataset": {"type": "Upload", "name": "digits"}, "model": layers(32, 10, flat=True), "loss": "CrossEntropyLoss"}
    return done(stack, spec | {"optimizer": ADAM, "epochs": 12})


@pytest.mark.long
def test_a_table_without_its_label_column_is_predicted(stack: Stack, push: Push, tmp_path: Path):
    """As POST /predict answers its rows; nothing is measured, and the job says so."""
    stack.have_worker()
    towns = ("Ulm", "Bonn", "Kiel")
    kinds = ("no", "yes")
    push("old", csv("size,town,kind", *(f"{at % 13},{towns[at % 3]},{kinds[(at % 13 > 6) ^ (at % 3 == 0)]}" for at in range(200))))
    push("new", csv("town,size", *(f"{towns[at % 3]},{at % 11}" for at in range(40))))
    dataset = {"type": "Upload", "name": "old", "label_columns": "kind"}
    first = done(stack, {"dataset": dataset, "model": layers(8, 2), "loss": "CrossEntropyLoss", "optimizer": ADAM, "epochs": 10})

    spec = evaluation_of(first, "new")
    second = done(stack, spec)

    assert [warning["code"] for warning in second["warnings"]] == ["no_labels"]
    assert "kind" in second["warnings"][0]["suggestion"]
    assert not any(name.startswith("test_") for name in second["metrics"])
    rows = predictions(stack, second, tmp_path)
    assert list(rows) == ["index", "predicted", "probability_no", "probability_yes"]
    answers = stack.client.predict(first["id"], [{"town": towns[at % 3], "size": at % 11} for at in range(40)])
    assert [kinds[each] for each in rows["predicted"]] == answers["classes"]
    assert rows["probability_yes"] == pytest.approx([share for _, share in answers["probabilities"]], abs=1e-6)
    home = tmp_path / "home"
    assert json.loads((home / "evaluation" / "metrics.json").read_text()) == {}
    assert "nothing was measured" in (home / "README.md").read_text()
    (tmp_path / "table.csv").write_bytes((tmp_path / "upload").read_bytes())
    assert_program_runs(tmp_path)
    with pytest.raises(Rejected) as refused:
        stack.client.submit(spec | {"evaluation": {"predictions": False}})
    assert [(fault["pointer"], fault["code"]) for fault in refused.value.faults] == [("/evaluation/predictions", "no_labels")]
    with pytest.raises(Rejected) as refused:
        stack.client.submit(spec | {"dataset": {**dataset, "name": "new"}, "model": layers(8, 2), "epochs": 1})
    assert [(fault["pointer"], fault["code"]) for fault in refused.value.faults] == [("/dataset/label_columns/0", "no_column")]


@pytest.mark.parametrize("kind", ["arrays", "folder"])
def test_images_without_labels_are_predicted(stack: Stack, push: Push, classifier: dict[str, Any], tmp_path: Path, kind: str):
    """In their order, by the names that the model has; trained on they cannot be."""
    images = {f"{at:03}.png": png(pixels) for at, pixels in enumerate(PIXELS[LATER])}
    push("loose", npz(x=PIXELS[LATER]) if kind == "arrays" else zipped(images))
    assert stack.client.dataset("loose")["content"]["labelled"] is False

    job = done(stack, evaluation_of(classifier, "loose"))

    rows = predictions(stack, job, tmp_path)
    assert list(rows) == ["index", "predicted", *(f"probability_digit-{at}" for at in range(10))]
    assert np.mean(np.array(rows["predicted"]) == DIGITS.target[LATER]) > 0.8
    assert {file["path"] for file in stack.client.artifacts(job["id"]) if file["path"].startswith("evaluation/")} == {
        "evaluation/metrics.json",
        "evaluation/predictions.parquet",
    }
    if kind == "arrays":
        (tmp_path / "loose.npz").write_bytes((tmp_path / "upload").read_bytes())
        assert_program_runs(tmp_path)
    else:
        (tmp_path / "loose").mkdir()
        for name, data in images.items():
            (tmp_path / "loose" / name).write_bytes(data)
            Image.open(tmp_path / "loose" / name).load()
        assert_program_runs(tmp_path, "loose")
    training = {"dataset": {"type": "Upload", "name": "loose"}, "model": layers(10, flat=True), "loss": "CrossEntropyLoss"}
    with pytest.raises(Rejected) as refused:
        stack.client.submit(training | {"optimizer": ADAM, "epochs": 1})
    assert [(fault["pointer"], fault["code"]) for fault in refused.value.faults] == [("/dataset/name", "no_labels")]
    assert "predictions: true" in refused.value.faults[0]["suggestion"]


@pytest.mark.long
def test_classes_are_compared_by_their_names(stack: Stack, push: Push, classifier: dict[str, Any], tmp_path: Path):
    """In another order, and fewer of them; a name that the model does not know is refused by name."""
    names = [f"digit-{at}" for at in (7, 3, 1)]
    chosen = np.isin(DIGITS.target[600:], (7, 3, 1))
    pixels, digits = PIXELS[600:][chosen], DIGITS.target[600:][chosen]
    labels = np.array([names.index(f"digit-{digit}") for digit in digits])
    push("some", npz(x=pixels, y=labels, classes=np.array(names)))

    job = done(stack, evaluation_of(classifier, "some"))

    rows = predictions(stack, job, tmp_path)
    assert rows["label"] == digits.tolist()
    assert job["metrics"]["test_accuracy"] == pytest.approx(np.mean(np.array(rows["predicted"]) == digits))
    assert job["metrics"]["test_accuracy"] > 0.8
    (tmp_path / "some.npz").write_bytes((tmp_path / "upload").read_bytes())
    told = assert_program_runs(tmp_path)
    assert f"test_accuracy {job['metrics']['test_accuracy']:.4f}" in told
    push("odd", npz(x=pixels, y=labels, classes=np.array([*names[:2], "digit-x"])))
    with pytest.raises(Rejected) as refused:
        stack.client.submit(evaluation_of(classifier, "odd"))
    assert [(fault["pointer"], fault["code"]) for fault in refused.value.faults] == [("/dataset/name", "unknown_class")]
    assert "digit-x" in refused.value.faults[0]["detail"]
    push("unnamed", npz(x=PIXELS[LATER], y=DIGITS.target[LATER]))
    assert done(stack, evaluation_of(classifier, "unnamed"))["metrics"]["test_accuracy"] > 0.8


def test_whole_numbers_are_asked_as_they_were_trained_on(stack: Stack, push: Push, tmp_path: Path):
    """A model that begins with an Embedding: JSON's numbers are places in its table, and nothing between two of them is."""
    stack.have_worker()
    words = np.random.default_rng(0).integers(0, 20, (200, 6))
    push("words", npz(x=words, y=(words[:, 0] > words[:, 1]).astype(np.int64), classes=np.array(["up", "down"])))
    embedding = {"type": "Embedding", "num_embeddings": 20, "embedding_dim": 8}
    model = {"type": "Sequential", "layers": [embedding, "Flatten", {"type": "Linear", "out_features": 2}]}
    spec = {"dataset": {"type": "Upload", "name": "words"}, "model": model, "loss": "CrossEntropyLoss", "optimizer": ADAM, "epochs": 5}
    job = done(stack, spec)
    assert stack.client.dataset("words")["content"]["dtype"] == "int64"

    asked = stack.client.predict(job["id"], words[:50].tolist())

    rows = predictions(stack, done(stack, evaluation_of(job, "words")), tmp_path)
    assert asked["classes"] == [("up", "down")[each] for each in rows["predicted"][:50]]
    assert [share for share, _ in asked["probabilities"]] == pytest.approx(rows["probability_up"][:50], abs=1e-6)
    for sample, told in (([1.5, 0, 0, 0, 0, 0], "Sample 0 holds 1.5"), ([20, 0, 0, 0, 0, 0], "does not take")):
        with pytest.raises(BadRequest, match=told):
            stack.client.predict(job["id"], [sample])

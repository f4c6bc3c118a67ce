"""What an evaluation keeps of its answers: the most wrong ones, all of them as a table, and numbers for each class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import parquet
from sklearn.metrics import precision_recall_fscore_support

from service.spec.job import JobSpec
from tests.checking import resolved
from worker.training.answers import Predictions, each_class
from worker.training.mistakes import MOST_WRONG, MostWrong, of_classes

HEAD = ["Flatten", {"type": "Linear", "out_features": 10}]


def spec_of(loss: Any = "CrossEntropyLoss", layers: list[Any] = HEAD, **dataset: Any) -> JobSpec:
    """A small job with another loss and data."""
    return resolved(
        {
            "dataset": {"type": "Digits", "limit": 64} | dataset,
            "model": {"type": "Sequential", "layers": layers},
            "loss": loss,
            "optimizer": "SGD",
            "epochs": 1,
        }
    )


def random_answers(samples: int = 700, classes: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and labels that have nothing to do with each other."""
    draw = torch.Generator().manual_seed(3)
    return torch.randn(samples, classes, generator=draw), torch.randint(0, classes, (samples,), generator=draw)


@pytest.mark.parametrize("size", [1, 13, 700])
def test_the_most_wrong_are_the_same_however_the_samples_are_cut_into_batches(size: int):
    """Those whose answer lies farthest above the right one's output, worst first, so many at most."""
    outputs, labels = random_answers()
    worst = MostWrong(of_classes)

    for at in range(0, len(labels), size):
        worst.see(outputs[at : at + size], labels[at : at + size])

    gaps = outputs.max(1).values - outputs[torch.arange(len(labels)), labels]
    expected = gaps.argsort(descending=True)[:MOST_WRONG]
    assert [each.index for each in worst.mistakes()] == expected.tolist()
    assert [(each.label, each.answer) for each in worst.mistakes()] == [(int(labels[at]), int(outputs[at].argmax())) for at in expected]


def test_right_answers_are_no_mistakes():
    """However close they are."""
    worst = MostWrong(of_classes)

    worst.see(torch.tensor([[1.0, 0.9], [0.0, 5.0]]), torch.tensor([0, 0]))

    assert [each.index for each in worst.mistakes()] == [1]


def test_each_class_is_measured_as_scikit_learn_does():
    """Precision, recall, F1, support; a class that never comes up has none to divide by."""
    outputs, labels = random_answers(classes=6)
    labels[labels == 5] = 4
    outputs[:, 5] = -9
    answers = outputs.argmax(1)
    confusion = torch.bincount(labels * 6 + answers, minlength=36).view(6, 6)

    found = list(each_class(confusion, ["cat"]))

    expected = precision_recall_fscore_support(labels, answers, labels=range(6), zero_division=math.nan)
    for at, name in enumerate(("precision", "recall", "f1", "support")):
        assert [row[name] for row in found[:5]] == pytest.approx(expected[at][:5].tolist())
    assert found[5] == {"class": "5", "precision": None, "recall": None, "f1": None, "support": 0}
    assert [row["class"] for row in found[:2]] == ["cat", "1"]


BCE = {"loss": "BCEWithLogitsLoss", "target": "one_hot"}


@pytest.mark.parametrize(
    ("changes", "column", "shares"),
    [
        ({}, "probability_3", lambda outputs: outputs.softmax(1)),
        ({"loss": "NLLLoss", "layers": [*HEAD, "LogSoftmax"]}, "probability_3", lambda outputs: outputs.exp()),
        (BCE, "probability_3", lambda outputs: outputs.sigmoid()),
        ({"loss": "MSELoss", "target": "one_hot"}, "output_3", lambda outputs: outputs),
    ],
)
def test_every_prediction_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], column: str, shares: Any):
    """In groups of rows that wait for each other in bounded memory; columns are what the loss takes the outputs for."""
    monkeypatch.setattr("worker.training.answers.NUMBERS_AT_ONCE", 100)
    outputs, labels = random_answers(samples=64, classes=10)

    with Predictions(tmp_path / "p.parquet", spec_of(**changes), classes=[]) as predictions:
        for at in range(0, 64, 8):
            predictions.see(outputs[at : at + 8], labels[at : at + 8])

    assert parquet.ParquetFile(tmp_path / "p.parquet").num_row_groups == 4
    table = parquet.read_table(tmp_path / "p.parquet").to_pydict()
    assert table["index"] == list(range(64))
    assert table["label"] == labels.tolist()
    assert table["predicted"] == outputs.argmax(1).tolist()
    assert table[column] == pytest.approx(shares(outputs)[:, 3].tolist())
    assert len(table) == 13


def test_an_output_of_many_numbers_is_one_column(tmp_path: Path):
    """An image, say: no table has a column for each of its pixels."""
    spec = spec_of("MSELoss", [{"type": "Conv2d", "out_channels": 1, "kernel_size": 1}], target="input")
    outputs = torch.rand(3, 1, 40, 40)

    with Predictions(tmp_path / "p.parquet", spec, classes=[]) as predictions:
        predictions.see(outputs, torch.arange(3))

    table = parquet.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["index", "label", "outputs"]
    assert table["outputs"].to_pylist()[1] == pytest.approx(outputs[1].flatten().tolist())


def test_labels_that_are_several_numbers_have_a_column_each(tmp_path: Path):
    """As outputs have."""
    with Predictions(tmp_path / "p.parquet", spec_of(**BCE), classes=["cat", "dog"]) as predictions:
        predictions.see(torch.zeros(3, 2), torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))

    table = parquet.read_table(tmp_path / "p.parquet").to_pydict()
    assert table["label_cat"] == [1.0, 0.0, 1.0]
    assert table["probability_dog"] == [0.5, 0.5, 0.5]

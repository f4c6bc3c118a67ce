"""What a job of each task leaves of its answers: tables that agree with its predictions, pictures that are pictures, a card that shows them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_absolute_error, precision_recall_fscore_support, r2_score

from service.spec.catalog import Declared
from service.spec.training import Loss
from tests.attempts import attempt
from tests.unit.training.test_brought import brought
from tests.unit.training.test_tasks import TASKS
from worker.training.mistakes import MOST_WRONG
from worker.training.plots import draw_fits, draw_labels, draw_thresholds
from worker.training.regression import MOST_POINTS, MOST_TARGETS, Fits, said

MSE = Declared.model_construct(type="MSELoss")


def done(name: str, folder: Path, **changes: Any) -> Path:
    """The artifacts of one of the tasks, with every prediction as a row."""
    upload, dataset, parts = TASKS[name]
    evaluation = {**parts.get("evaluation", {}), "predictions": True}
    spec, top = brought(upload, folder, dataset, **(parts | {"epochs": 2, "evaluation": evaluation} | changes))
    artifacts, _ = attempt(spec, folder / "job", datasets_dir=str(top))
    return artifacts


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def is_a_picture(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
        return min(image.size) > 100 and len(image.convert("RGB").getcolors(10**6) or []) > 10


def test_numbers_are_drawn_and_each_targets_worst_rows_are_told_by_their_place_in_the_table(tmp_path: Path):
    """Places count from 1; what is true there is what the table has there."""
    artifacts = done("several targets", tmp_path)

    assert is_a_picture(artifacts / "evaluation" / "predicted_vs_true.png")
    worst = rows_of(artifacts / "evaluation" / "most_wrong.csv")
    assert [row["target"] for row in worst] == ["bmi"] * MOST_WRONG + ["bp"] * MOST_WRONG
    told = parquet.read_table(artifacts / "evaluation" / "predictions.parquet").to_pydict()
    for target in ("bmi", "bp"):
        off = np.abs(np.array(told[f"label_{target}"]) - np.array(told[f"output_{target}"]))
        mine = [row for row in worst if row["target"] == target]
        assert [int(row["index"]) for row in mine] == np.argsort(-off, kind="stable")[:MOST_WRONG].tolist()
        column = load_diabetes().feature_names.index(target)
        for row in mine:
            assert float(row["true"]) == pytest.approx(load_diabetes().data[int(row["row"]) - 1, column], abs=1e-6)
            assert float(row["error"]) == pytest.approx(abs(float(row["true"]) - float(row["predicted"])), abs=1e-6)
    card = (artifacts / "README.md").read_text()
    assert "![Predicted and true numbers](evaluation/predicted_vs_true.png)" in card
    assert "\n[The most wrong samples as a table](evaluation/most_wrong.csv)" in card


def test_each_label_is_measured_as_scikit_learn_does_and_the_most_wrong_are_named(tmp_path: Path):
    """Samples are images here, so that the sheet is drawn, too."""
    artifacts = done("multilabel", tmp_path)

    told = parquet.read_table(artifacts / "evaluation" / "predictions.parquet").to_pydict()
    names = ("even", "above_four", "loop")
    true, yes = (np.array([told[f"{what}_{name}"] for name in names]).T > 0.5 for what in ("label", "probability"))
    expected = precision_recall_fscore_support(true, yes)
    found = rows_of(artifacts / "evaluation" / "per_label.csv")
    assert [row["label"] for row in found] == list(names)
    for at, score in enumerate(("precision", "recall", "f1", "support")):
        assert [float(row[score]) for row in found] == pytest.approx(expected[at].tolist())
    worst = rows_of(artifacts / "evaluation" / "most_wrong.csv")
    assert 0 < len(worst) <= MOST_WRONG
    for row in worst:
        at = names.index(row["label"])
        assert (row["true"], row["predicted"]) == (("no", "yes") if yes[int(row["index"]), at] else ("yes", "no"))
        assert true[int(row["index"]), at] != yes[int(row["index"]), at]
    assert [float(row["error"]) for row in worst] == sorted((float(row["error"]) for row in worst), reverse=True)
    assert all(is_a_picture(artifacts / "evaluation" / name) for name in ("per_label.png", "most_wrong.png"))


def test_yes_and_no_have_other_thresholds_drawn_and_names_in_the_table(tmp_path: Path):
    """Every wrong answer is in it, where they are few."""
    artifacts = done("binary", tmp_path)

    told = parquet.read_table(artifacts / "evaluation" / "predictions.parquet").to_pydict()
    wrong = [at for at, (label, share) in enumerate(zip(told["label"], told["probability_0"], strict=True)) if (share > 0.5) != label]
    worst = rows_of(artifacts / "evaluation" / "most_wrong.csv")
    assert sorted(int(row["index"]) for row in worst) == wrong
    assert {row["true"] for row in worst} | {row["predicted"] for row in worst} <= {"benign", "malignant"}
    assert is_a_picture(artifacts / "evaluation" / "thresholds.png")
    assert "(evaluation/thresholds.png)" in (artifacts / "README.md").read_text()


@pytest.mark.parametrize("size", [1, 7, 12_000])
def test_a_fit_is_measured_as_scikit_learn_does_however_batches_are_cut(size: int):
    """Over all samples, far from zero, too; what is drawn is every so many-th."""
    samples = 12_000 if size > 1 else 500
    draw = torch.Generator().manual_seed(0)
    labels = torch.randn(samples, 2, generator=draw) + torch.tensor([0.0, 5_000.0])
    outputs = labels + torch.randn(samples, 2, generator=draw) / 3
    fits = Fits(MSE, size=samples)

    for at in range(0, samples, size):
        fits.see(outputs[at : at + size], labels[at : at + size])

    for at, fit in enumerate(fits.fits()):
        assert fit.r2 == pytest.approx(r2_score(labels[:, at].double(), outputs[:, at].double()))
        assert fit.mae == pytest.approx(mean_absolute_error(labels[:, at], outputs[:, at]), rel=1e-5)
        every = -(-samples // MOST_POINTS)
        assert torch.equal(fit.points, torch.stack([labels[::every, at], outputs[::every, at]], dim=1))


def test_many_targets_are_looked_at_up_to_a_number_and_equal_ones_have_no_r2(tmp_path: Path):
    """And an output that is no number is drawn by leaving it out."""
    fits = Fits(MSE, size=3)
    fits.see(torch.tensor([[1.0], [torch.nan], [2.0]]).repeat(1, 12), torch.ones(3, 12))

    found = fits.fits()
    draw_fits(found, [f"t{at}" for at in range(12)], tmp_path / "fits.png")

    assert len(found) == MOST_TARGETS
    assert found[0].r2 is None
    assert is_a_picture(tmp_path / "fits.png")


def test_what_a_model_says_is_on_the_scale_of_the_targets():
    """The logarithm of a rate is a rate."""
    from pydantic import TypeAdapter

    losses = TypeAdapter(Loss)
    outputs = torch.tensor([[0.0, 1.0]])

    assert torch.equal(said(outputs, losses.validate_python("PoissonNLLLoss")), outputs.exp())
    assert torch.equal(said(outputs, losses.validate_python({"type": "PoissonNLLLoss", "log_input": False})), outputs)
    assert torch.equal(said(outputs, losses.validate_python("BCEWithLogitsLoss")), outputs.sigmoid())
    assert torch.equal(said(outputs, losses.validate_python("MSELoss")), outputs)


def test_one_kind_of_samples_has_no_thresholds_and_a_thousand_labels_are_a_picture(tmp_path: Path):
    counts = torch.zeros(2, 1000, dtype=torch.int64)
    counts[1] = 3

    assert not draw_thresholds(counts, tmp_path / "none.png")
    draw_labels(
        [{"label": "a" * 300, "precision": None, "recall": 0.5, "f1": 0.4, "support": at} for at in range(1000)], tmp_path / "l.png"
    )

    assert not (tmp_path / "none.png").exists()
    with Image.open(tmp_path / "l.png") as image:
        assert image.height < 3000

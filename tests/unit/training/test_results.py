"""What a job leaves besides weights and program: numbers on both splits, pictures, events, a card; the whole history after a resume, too."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from service.spec.job import JobSpec
from tests.attempts import attempt
from tests.checking import resolved
from tests.scalars import scalars
from worker.training.checkpoint import snapshot, write
from worker.training.data import Batches
from worker.training.facts import EpochDone
from worker.training.loop import train
from worker.training.plots import draw_confusion, draw_most_wrong
from worker.training.preparing import prepare
from worker.training.splits import Decoded

LAYERS = ["Flatten", {"type": "Linear", "out_features": 10}]
BODY: dict[str, Any] = {
    "name": 'a "fine" model: | of mine',
    "dataset": {"type": "Digits", "limit": 200, "validation_split": 0.2},
    "model": {"type": "Sequential", "layers": LAYERS},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "Adam", "lr": 0.01},
    "epochs": 3,
    "evaluation": {"metrics": ["Accuracy", {"type": "F1Score", "average": "macro"}, "ConfusionMatrix"]},
    "resources": {"threads": 1},
}


@pytest.fixture(scope="module")
def spec() -> JobSpec:
    return resolved(BODY)


@pytest.fixture(scope="module")
def left(spec: JobSpec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The artifacts of one job, and what it told."""
    return attempt(spec, tmp_path_factory.mktemp("job"))


def test_metrics_are_of_both_splits_and_of_each_class(left: tuple[Path, list[Any]]):
    """Under the names that they have after an epoch; the classes' support adds up to the split."""
    measured = json.loads((left[0] / "evaluation" / "metrics.json").read_text())

    for split, samples in (("test", 360), ("val", 40)):
        assert {f"{split}_loss", f"{split}_accuracy", f"{split}_f1_score", f"{split}_per_class"} <= measured.keys()
        assert sum(each["support"] for each in measured[f"{split}_per_class"]) == samples
    last = [fact for fact in left[1] if isinstance(fact, EpochDone)][-1]
    assert measured["val_loss"] == pytest.approx(last.metrics["val_loss"])


def test_pictures_are_pictures(left: tuple[Path, list[Any]]):
    """Curves, confusion matrix, the samples that the model is most wrong about."""
    for name in ("plots/curves.png", "evaluation/confusion_matrix.png", "evaluation/most_wrong.png"):
        with Image.open(left[0] / name) as image:
            image.load()
            assert min(image.size) > 100
            assert len(image.convert("RGB").getcolors(10**6) or []) > 10


def test_no_mistake_no_sheet_and_a_regression_has_no_classes(tmp_path: Path):
    """An autoencoder: neither matrix nor sheet, and everything else."""
    body = BODY | {"dataset": {"type": "Digits", "limit": 40, "target": "input"}, "loss": "MSELoss", "evaluation": {}}
    layers = [{"type": "Conv2d", "out_channels": 1, "kernel_size": 1}]

    folder, _ = attempt(resolved(body | {"model": {"type": "Sequential", "layers": layers}, "epochs": 1}), tmp_path)

    assert [path.name for path in (folder / "evaluation").iterdir()] == ["metrics.json"]
    assert (folder / "plots" / "curves.png").exists()
    assert "| loss |" in (folder / "README.md").read_text()


def test_a_matrix_of_many_classes_is_drawn_without_names(tmp_path: Path):
    """A thousand names would hide it."""
    draw_confusion(torch.eye(300, dtype=torch.int64), [], tmp_path / "many.png")

    with Image.open(tmp_path / "many.png") as image:
        assert max(image.size) < 1500


def test_events_hold_every_scalar_of_every_epoch(left: tuple[Path, list[Any]]):
    """At its step and wall time; the results of the end at the last step."""
    told = [fact for fact in left[1] if isinstance(fact, EpochDone)]

    found = list(scalars(left[0] / "tensorboard"))

    losses = [(step, value, wall) for name, value, step, wall in found if name == "train_loss"]
    assert losses == [(fact.step, pytest.approx(fact.metrics["train_loss"]), pytest.approx(fact.at)) for fact in told]
    assert {*told[0].metrics, "train_seconds", "samples_per_second", "test_loss", "test_accuracy"} <= {name for name, *_ in found}
    assert [step for name, _, step, _ in found if name == "test_accuracy"] == [told[-1].step]
    assert [path.name for path in (left[0] / "tensorboard").iterdir()] == ["events.out.tfevents.0"]


def test_after_a_resume_the_whole_history_is_drawn(spec: JobSpec, tmp_path: Path):
    """The rows of earlier attempts come with the command; an epoch that is done again stands there once, as it was told."""
    first = prepare(spec, datasets_dir=Path())
    told = []
    for fact in train(first):
        if isinstance(fact, EpochDone):
            told.append(fact.row())
            if fact.epoch == 1:
                write(snapshot(first), tmp_path / "resume")
            if fact.epoch == 2:
                break
    resume = {"directory": str(tmp_path / "resume"), "epoch": 1, "step": told[0]["step"]}

    folder, _ = attempt(spec, tmp_path / "job", resume=resume, rows=told)

    found = [(step, wall) for name, _, step, wall in scalars(folder / "tensorboard") if name == "val_loss" and step <= told[-1]["step"]]
    assert found[:2] == [(row["step"], pytest.approx(row["at"])) for row in told]
    steps = [step for name, _, step, _ in scalars(folder / "tensorboard") if name == "train_loss"]
    assert steps == [told[0]["step"], told[1]["step"], told[1]["step"] + told[0]["step"]]


def test_the_cards_head_is_yaml_that_a_hub_reads(left: tuple[Path, list[Any]]):
    """Library, tags, scores; a name with quotes and colons stays a name, and no licence is chosen for the user."""
    text = (left[0] / "README.md").read_text()
    head = YAML(typ="safe").load(text.split("---\n")[1])
    measured = json.loads((left[0] / "evaluation" / "metrics.json").read_text())

    assert head["library_name"] == "pytorch"
    assert "license" not in head
    (test, validation) = head["model-index"][0]["results"]
    assert head["model-index"][0]["name"] == BODY["name"]
    assert {each["type"]: each["value"] for each in test["metrics"]} == {
        name: measured[f"test_{name}"] for name in ("loss", "accuracy", "f1_score")
    }
    assert validation["dataset"]["split"] == "val"
    assert re.search(r"sha256:[0-9a-f]{64}", text)


def test_the_cards_transforms_make_a_sample(left: tuple[Path, list[Any]], spec: JobSpec):
    """The lines as they stand there, on an image of the test split; the page says how many epochs were done."""
    text = (left[0] / "README.md").read_text()
    split = prepare(spec, datasets_dir=Path()).splits.test
    names: dict[str, Any] = {}

    exec(re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)[1], names)  # noqa: S102  # our own words

    ((expected, _),) = Batches(split, spec, device=torch.device("cpu")).over([torch.arange(1)])
    assert torch.equal(names["transform"](split[0][0]), expected[0])
    assert "for 3 epochs" in text


def test_the_cards_fence_is_longer_than_any_in_the_users_code(tmp_path: Path):
    """Else the page would end in the middle of it."""
    code = 'from torch import nn\n\n\nclass Net(nn.Sequential):\n    """```` of mine."""\n\n    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n'
    model = {"type": "Module", "class_name": "Net", "code": code}

    folder, _ = attempt(resolved(BODY | {"model": model, "epochs": 1}), tmp_path)

    text = (folder / "README.md").read_text()
    assert text.count("\n`````python\n") == text.count("\n`````\n") == 1


def test_config_json_says_what_goes_in_and_comes_out(left: tuple[Path, list[Any]], spec: JobSpec):
    """The architecture is the resolved spec's."""
    config = json.loads((left[0] / "config.json").read_text())

    assert config["architecture"] == spec.model.model_dump(mode="json")
    assert (config["input_shape"], config["output_shape"], config["num_classes"]) == ([1, 8, 8], [10], 10)
    assert (config["classes"], config["normalisation"]) == (None, None)


class Named:
    """A data set of files that knows what its classes are called."""

    classes = ("cat", "dog")
    __len__ = lambda _: 6  # noqa: E731  # one line of a stand-in

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (20, 30), (40 * index, 0, 0)), index % 2


def test_images_of_any_size_and_names_of_classes_stand_on_the_sheet(tmp_path: Path):
    """Decoded again for the sheet, and no others."""
    split = Decoded(Named(), torch.arange(6))

    assert draw_most_wrong(split, [{"index": 3, "true": "dog", "predicted": "cat"}], tmp_path / "sheet.png")
    assert not draw_most_wrong(split, [], tmp_path / "none.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert (120, 0, 0) in {colour for _, colour in image.getcolors(10**6) or []}

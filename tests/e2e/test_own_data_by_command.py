"""For each task, from an upload to a prediction with the command alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from service.api.examples import examples
from tests.e2e.stack import ROOT, Stack
from tests.unit.training.test_tasks import several_labels, table

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def trainyard(stack: Stack, tmp_path: Path) -> Run:
    """The command, in an empty folder; gives what it printed."""

    def run(*arguments: str, ends: int = 0) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"TRAINYARD_URL": stack.client.url, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "service.client.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == ends, done.stderr
        return done

    return run


@dataclass(frozen=True)
class Task:
    """What is uploaded, the spec, a file to predict of, and what the answer has to look like."""

    upload: Callable[[Path], str]
    spec: dict[str, Any]
    sample: Callable[[Path], str]
    answers: tuple[str, ...]


def csv_of(data: Any, words: tuple[str, ...] = ()) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / "table.csv").write_bytes(table(data, words))
        return "table.csv"

    return write


def rows_of(data: Any, count: int) -> Callable[[Path], str]:
    """The first rows, without the targets."""

    def write(folder: Path) -> str:
        head, *rows = table(data).decode().splitlines()
        lines = [line.rpartition(",")[0] for line in (head, *rows[:count])]
        (folder / "rows.csv").write_text("\n".join([*lines, ""]))
        return "rows.csv"

    return write


def folders(folder: Path) -> str:
    digits = load_digits()
    for at, (pixels, label) in enumerate(zip(digits.images[:600], digits.target[:600], strict=True)):
        place = folder / "digits" / f"digit-{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)).save(place / f"{at:04}.png")
    return "digits"


def one_digit(folder: Path) -> str:
    digits = load_digits()
    Image.fromarray(np.rint(digits.images[1500] * (255 / 16)).astype(np.uint8)).save(folder / "digit.png")
    return "digit.png"


def labelled_arrays(folder: Path) -> str:
    (folder / "several.npz").write_bytes(several_labels())
    return "several.npz"


def layers(*sizes: int, flat: bool = False) -> dict[str, Any]:
    inner = [each for size in sizes[:-1] for each in ({"type": "Linear", "out_features": size}, "ReLU")]
    return {"type": "Sequential", "layers": [*(["Flatten"] if flat else []), *inner, {"type": "Linear", "out_features": sizes[-1]}]}


ADAM = {"type": "Adam", "lr": 0.01}
TASKS = {
    "images": Task(
        folders,
        {"dataset": {}, "model": layers(32, 10, flat=True), "loss": "CrossEntropyLoss", "optimizer": ADAM, "epochs": 15},
        one_digit,
        (f"digit-{load_digits().target[1500]} (",),
    ),
    "binary": Task(
        csv_of(load_breast_cancer(), ("malignant", "benign")),
        examples()["own-table-binary"],
        rows_of(load_breast_cancer(), 2),
        ("sample 0: malignant (", "sample 1: malignant ("),
    ),
    "classes": Task(
        csv_of(load_wine(), ("barolo", "grignolino", "barbera")),
        examples()["own-table-classes"],
        rows_of(load_wine(), 2),
        ("sample 0: barolo (", "sample 1: barolo ("),
    ),
    "numbers": Task(
        csv_of(load_diabetes()),
        examples()["own-table-numbers"],
        rows_of(load_diabetes(), 1),
        ("rows.csv: ",),
    ),
    "several": Task(
        labelled_arrays,
        examples()["own-several-labels"],
        one_digit,
        ("digit.png: ",),
    ),
}


@pytest.mark.parametrize("name", [name if name in ("images", "numbers") else pytest.param(name, marks=pytest.mark.long) for name in TASKS])
def test_from_upload_to_prediction(name: str, stack: Stack, trainyard: Run, tmp_path: Path):
    task = TASKS[name]
    stack.have_worker()

    pushed = trainyard("datasets", "push", name, task.upload(tmp_path))
    assert " ready" in pushed.stdout
    spec = task.spec | {"dataset": {**task.spec["dataset"], "type": "Upload", "name": name}}
    (tmp_path / "job.json").write_text(json.dumps(spec))
    job = json.loads(trainyard("submit", "job.json", "--follow", "--json").stdout)
    assert job["state"] == "succeeded", job["error"]
    predicted = trainyard("predict", job["id"], task.sample(tmp_path)).stdout.splitlines()

    assert len(predicted) == len(task.answers)
    for line, wanted in zip(predicted, task.answers, strict=True):
        assert wanted in line, line
    if name == "numbers":
        assert 25 < float(predicted[0].partition(": ")[2]) < 350
    if name == "several":
        even, above_four, loop = (load_digits().target[1500] in each for each in ((0, 2, 4, 6, 8), (5, 6, 7, 8, 9), (0, 6, 8, 9)))
        wanted = [word for word, holds in (("even", even), ("above_four", above_four), ("loop", loop)) if holds]
        assert predicted[0] == f"digit.png: {', '.join(wanted) or 'none'}"


@pytest.mark.long
def test_a_trained_model_is_evaluated_on_other_data_by_a_job_of_its_own(stack: Stack, trainyard: Run, tmp_path: Path):
    """No epoch, the same weights; every prediction is a row."""
    import pyarrow.parquet as pq

    stack.have_worker()
    trainyard("datasets", "push", "digits", folders(tmp_path))
    spec = TASKS["images"].spec | {"dataset": {"type": "Upload", "name": "digits"}}
    (tmp_path / "job.json").write_text(json.dumps(spec))
    first = json.loads(trainyard("submit", "job.json", "--follow", "--json").stdout)
    digits = load_digits()
    pixels = np.rint(digits.images[600:900] * (255 / 16)).astype(np.uint8)
    np.savez(tmp_path / "later.npz", x=pixels, y=digits.target[600:900], classes=np.array([f"digit-{at}" for at in range(10)]))
    trainyard("datasets", "push", "later", "later.npz")

    second = json.loads(trainyard("evaluate", first["id"], "later", "--follow", "--json").stdout)
    trainyard("download", second["id"], "-o", "home")

    assert second["state"] == "succeeded", second["error"]
    assert second["metrics"]["test_accuracy"] > 0.8
    shas = [{file["path"]: file["sha256"] for file in stack.client.artifacts(job["id"])}["model.safetensors"] for job in (first, second)]
    assert shas[0] == shas[1]
    rows = pq.read_table(tmp_path / "home" / "evaluation" / "predictions.parquet")
    assert rows.num_rows == 300
    right = np.mean(rows.column("predicted").to_numpy() == digits.target[600:900])
    assert abs(right - second["metrics"]["test_accuracy"]) < 1e-9
    assert_program_runs(tmp_path)


def assert_program_runs(folder: Path, data: str = ".") -> str:
    """What train.py says of a job that was downloaded into `home`, and trained nothing: it evaluates too, and keeps the weights."""
    command = [
        sys.executable,
        "-W",
        "error",
        "train.py",
        "--data",
        str(folder / data),
        "--init",
        "model.safetensors",
        "--out",
        "again.safetensors",
    ]
    done = subprocess.run(command, cwd=folder / "home", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    before, after = (load_file(folder / "home" / f"{name}.safetensors") for name in ("model", "again"))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    return done.stdout


@pytest.mark.long
def test_a_model_of_a_table_is_evaluated_as_its_own_rows_were_scaled(stack: Stack, trainyard: Run, tmp_path: Path):
    """Other rows, with other numbers and a word that it never saw: what it says of them is what predict says."""
    import pyarrow.parquet as pq

    stack.have_worker()
    towns = ("Ulm", "Bonn", "Kiel", "Jena")
    rows = [f"{at % 13},{towns[at % 3]},{('no', 'yes')[(at % 13 > 6) ^ (at % 3 == 0)]}" for at in range(200)]
    (tmp_path / "old.csv").write_text("\n".join(["size,town,kind", *rows, ""]))
    others = [f"{at % 7 + 4},{towns[at % 4]},{('yes', 'no')[at % 2]}" for at in range(40)]
    (tmp_path / "new.csv").write_text("\n".join(["kind,town,size", *(",".join(reversed(row.split(","))) for row in others), ""]))
    for name in ("old", "new"):
        trainyard("datasets", "push", name, f"{name}.csv")
    spec = {
        "dataset": {"type": "Upload", "name": "old", "label_columns": "kind"},
        "model": layers(8, 2),
        "loss": "CrossEntropyLoss",
        "optimizer": ADAM,
    }
    (tmp_path / "job.json").write_text(json.dumps(spec | {"epochs": 10}))
    first = json.loads(trainyard("submit", "job.json", "--follow", "--json").stdout)

    second = json.loads(trainyard("evaluate", first["id"], "new", "--follow", "--json").stdout)
    trainyard("download", second["id"], "-o", "home")

    assert second["state"] == "succeeded", second["error"]
    said = pq.read_table(tmp_path / "home" / "evaluation" / "predictions.parquet").column("predicted").to_numpy()
    samples = [dict(zip(("size", "town"), (int(row.split(",")[0]), row.split(",")[1]), strict=True)) for row in others]
    predicted = stack.client.predict(first["id"], samples)
    assert [predicted["names"][at] for at in said] == predicted["classes"]
    assert_program_runs(tmp_path)

    (tmp_path / "odd.csv").write_text("size,town,kind\n1,Ulm,perhaps\n2,Ulm,no\n")
    trainyard("datasets", "push", "odd", "odd.csv")
    assert "never saw: perhaps" in trainyard("evaluate", first["id"], "odd", ends=3).stderr
    (tmp_path / "short.csv").write_text("size,kind\n1,yes\n2,no\n")
    trainyard("datasets", "push", "short", "short.csv")
    assert "town, which is not there" in trainyard("evaluate", first["id"], "short", ends=3).stderr


def test_what_a_model_cannot_take_is_said_with_the_cure(stack: Stack, trainyard: Run, tmp_path: Path):
    stack.have_worker()
    trainyard("datasets", "push", "wine", csv_of(load_wine(), ("a", "b", "c"))(tmp_path))
    spec = TASKS["classes"].spec | {"dataset": {"type": "Upload", "name": "wine", "label_columns": "target"}, "epochs": 1}
    (tmp_path / "job.json").write_text(json.dumps(spec))
    table_job = json.loads(trainyard("submit", "job.json", "--follow", "--json").stdout)["id"]
    digits = {"dataset": "Digits", "model": layers(10, flat=True), "loss": "CrossEntropyLoss", "optimizer": ADAM, "epochs": 1}
    (tmp_path / "job.json").write_text(json.dumps(digits))
    image_job = json.loads(trainyard("submit", "job.json", "--follow", "--json").stdout)["id"]

    (tmp_path / "few.csv").write_text("alcohol\n13\n")
    assert "malic_acid" in trainyard("predict", table_job, "few.csv", ends=2).stderr
    assert "no image" in trainyard("predict", table_job, one_digit(tmp_path), ends=2).stderr
    Image.new("L", (20, 10)).save(tmp_path / "wide.png")
    assert "?resize=true" in trainyard("predict", image_job, "wide.png", ends=2).stderr
    trainyard("predict", image_job, "wide.png", "--resize")
    Image.effect_noise((64, 64), 50).save(tmp_path / "noise.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "noise.png").read_bytes()[:1000])
    assert "decoded" in trainyard("predict", image_job, "torn.png", ends=2).stderr
    (tmp_path / "odd.json").write_text('{"inputs": [[1, 2], [3]]}')
    assert "Sample 0" in trainyard("predict", image_job, "odd.json", ends=2).stderr
    (tmp_path / "hollow.json").write_text('{"inputs": [[[]]]}')
    assert "Sample 0 is empty" in trainyard("predict", image_job, "hollow.json", ends=2).stderr
    (tmp_path / "note.txt").write_text("hello")
    assert "cannot be sent" in trainyard("predict", image_job, "note.txt", ends=2).stderr
    waiting = stack.client.submit(digits | {"resources": {"device": "gpu"}})["id"]
    assert "queued" in trainyard("predict", waiting, "digit.png", ends=1).stderr


def test_custom_code_answers_contained(stack: Stack):
    """A module that looks for the service's credentials finds none."""
    code = """
import os
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        known = sum(name.startswith(("AWS_", "REDIS_", "S3_")) for name in os.environ)
        return self.inner(x) * 0 + known
"""
    stack.have_worker()
    spec = {
        "dataset": "Digits",
        "model": {"type": "Module", "class_name": "Net", "code": code},
        "loss": "CrossEntropyLoss",
        "optimizer": ADAM,
    }
    job = stack.client.wait(stack.client.submit(spec | {"epochs": 1})["id"], timeout=60)
    assert job["state"] == "succeeded", job["error"]

    predicted = stack.client.predict(job["id"], [[[0] * 8] * 8])

    assert predicted["outputs"] == [[0.0] * 10]


@pytest.mark.long
def test_gc_removes_what_no_record_names_and_nothing_else(stack: Stack, tmp_path: Path):
    import boto3

    stack.have_worker()
    job = stack.client.wait(
        stack.client.submit(
            {"dataset": "Digits", "model": layers(10, flat=True), "loss": "CrossEntropyLoss", "optimizer": ADAM, "epochs": 1}
        )["id"],
        timeout=60,
    )
    environment = stack.environment
    s3 = boto3.client(
        "s3",
        endpoint_url=environment["S3_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    lost = [
        "projects/default/datasets/lost/" + "a" * 64 + ".18000000000/upload",
        "projects/default/jobs/job_01800000000aaaaaaaaaa/attempts/1/x",
    ]
    for key in lost:
        s3.put_object(Bucket="trainyard", Key=key, Body=b"12345")

    def gc(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service.client.cli", "gc", *flags]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)

    looked = gc("--dry-run")
    assert [line.split()[0] for line in looked.stdout.splitlines()] == sorted(
        key.rpartition("/")[0].removesuffix("/attempts/1") + "/" for key in lost
    )
    assert "2 object(s), 10 bytes would go" in looked.stderr
    before = stack.client.storage()
    assert "2 object(s), 10 bytes removed" in gc().stderr

    after = stack.client.storage()
    assert before["jobs"]["objects"] - after["jobs"]["objects"] == 1
    assert before["datasets"]["objects"] - after["datasets"]["objects"] == 1
    stack.client.download(job["id"], tmp_path / "home")
    assert gc("--dry-run").stdout == ""

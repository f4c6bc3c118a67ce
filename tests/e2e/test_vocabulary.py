"""Everything a spec can say, trained for real: each example, and its train.py beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from service.adapters import bubblewrap
from service.api.examples import examples
from tests.checking import complete_examples
from tests.e2e.stack import Stack, running_stack
from tests.servers import S3Server

SMALL = {"mnist-lstm": 600, "mnist-mlp": 2000, "mnist-cnn": 600, "mnist-fast": 600}
"""Training samples of the examples over whole MNIST; the long runs take them all."""
REACHED = {"mnist-lstm": 0.95, "mnist-mlp": 0.91, "mnist-cnn": 0.98, "mnist-fast": 0.99}
"""Test accuracies that those reach on all of it."""
MNIST = Path(os.environ.get("TRAINYARD_DATASETS_DIR", Path(__file__).parent.parent.parent.parent / "shared" / "data"))
CUSTOM = "digits-custom-module"
LONG = os.environ.get("TRAINYARD_LONG_TESTS") == "1"
SOME = (
    "digits-average",
    "digits-custom-module",
    "digits-unet",
    "mnist-lstm",
)
"""A short run trains one of each kind; the long one all of them."""


@pytest.fixture(scope="module")
def worked(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API and one worker for the whole file."""
    settings = {"TRAINYARD_DATASETS_DIR": str(MNIST)} if MNIST.exists() else {}
    with running_stack(tmp_path_factory.mktemp("stack"), redis_url=valkey_url, s3=s3.environment(), **settings) as running:
        running.start_worker()
        yield running


def small(name: str) -> dict:
    """An example on few samples."""
    spec = dict(examples()[name])
    if name in SMALL and not LONG:
        dataset = spec["dataset"] if isinstance(spec["dataset"], dict) else {"type": spec["dataset"]}
        spec |= {"dataset": dataset | {"limit": SMALL[name]}, "epochs": 1}
    return spec


@pytest.mark.parametrize("name", sorted(complete_examples()) if LONG else SOME)
def test_every_example_trains_and_its_program_gives_the_same_weights(worked: Stack, name: str, tmp_path: Path):
    """POST, wait, download, run train.py: equal tensors, bit for bit."""
    if name.startswith("mnist") and not (MNIST / "MNIST").exists():
        pytest.skip(f"MNIST is not in {MNIST}")
    if name == CUSTOM and bubblewrap.unavailable():
        pytest.skip(str(bubblewrap.unavailable()))
    job = worked.client.wait(worked.client.submit(small(name))["id"], timeout=250)
    assert job["state"] == "succeeded", job["error"]
    if LONG and name in REACHED:
        assert job["metrics"]["test_accuracy"] >= REACHED[name]
    worked.client.download(job["id"], tmp_path / "job")

    command = [sys.executable, str(tmp_path / "job" / "train.py"), "--data", str(MNIST), "--out", str(tmp_path / "again.safetensors")]
    subprocess.run(command, check=True, capture_output=True, timeout=250)

    ours, again = load_file(tmp_path / "job" / "model.safetensors"), load_file(tmp_path / "again.safetensors")
    assert ours.keys() == again.keys()
    assert all(ours[key].equal(again[key]) for key in ours)


@pytest.mark.skipif(bubblewrap.unavailable() is not None, reason=str(bubblewrap.unavailable()))
def test_a_contained_model_is_exported_as_well(worked: Stack):
    """Both files come out of the containment, each with its distance in the manifest."""
    spec = dict(examples()[CUSTOM]) | {"epochs": 1, "export": ["pt2", "onnx"]}

    job = worked.client.wait(worked.client.submit(spec)["id"], timeout=120)

    assert (job["state"], job["warnings"]) == ("succeeded", [])
    exported = {file["path"]: file["export"] for file in worked.client.artifacts(job["id"]) if file["export"]}
    assert exported.keys() == {"model.pt2", "model.onnx"}
    assert all(each["max_abs_difference"] <= each["tolerance"] == 1e-4 for each in exported.values())


@pytest.mark.skipif(bubblewrap.unavailable() is not None, reason=str(bubblewrap.unavailable()))
def test_an_error_of_custom_code_in_training_is_the_users(worked: Stack):
    """The check sees no fault in what fails at the third step: the job fails with the user's own words."""
    spec = dict(examples()[CUSTOM])
    code = spec["model"]["code"].replace(
        "return self.layers", "self.seen = getattr(self, 'seen', 0) + 1\n        assert self.seen < 9, 'enough'\n        return self.layers"
    )
    job = worked.client.wait(worked.client.submit(spec | {"model": spec["model"] | {"code": code}})["id"], timeout=120)

    assert (job["state"], job["reason"]) == ("failed", "user_code")
    assert "enough" in job["error"]["message"]


def test_a_warm_start_begins_with_the_earlier_jobs_weights(worked: Stack, tmp_path: Path):
    """Frozen but for the last layer, the rest stays as the earlier job left it; train.py starts from the weights it is handed."""
    first = worked.client.wait(worked.client.submit(examples()["digits-mlp"])["id"], timeout=120)
    spec = dict(examples()["digits-mlp"]) | {"model": {"type": "Job", "job_id": first["id"], "freeze": ["1"]}, "epochs": 1}
    second = worked.client.wait(worked.client.submit(spec)["id"], timeout=120)
    assert second["state"] == "succeeded", second["error"]
    worked.client.download(first["id"], tmp_path / "first")
    worked.client.download(second["id"], tmp_path / "second")
    command = [sys.executable, str(tmp_path / "second" / "train.py"), "--out", str(tmp_path / "again.safetensors")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)

    before, after, again = (
        load_file(path)
        for path in (tmp_path / "first/model.safetensors", tmp_path / "second/model.safetensors", tmp_path / "again.safetensors")
    )
    assert before["1.weight"].equal(after["1.weight"])
    assert not before["4.weight"].equal(after["4.weight"])
    assert all(after[name].equal(again[name]) for name in after)


@pytest.mark.parametrize(
    ("model", "pointer", "word"),
    [
        ({"job_id": "job_" + "0" * 21}, "/model/job_id", "no job"),
        ({"freeze": ["nope"]}, "/model/freeze/0", "nope"),
    ],
)
def test_a_warm_start_that_cannot_be_is_refused(worked: Stack, model: dict, pointer: str, word: str):
    """At POST, with the place."""
    first = worked.client.wait(worked.client.submit(examples()["digits-mlp"] | {"epochs": 1})["id"], timeout=120)
    spec = examples()["digits-mlp"] | {"model": {"type": "Job", "job_id": first["id"]} | model}

    verdict = worked.client.validate(spec)

    assert [(fault["pointer"], word in fault["detail"]) for fault in verdict["errors"]] == [(pointer, True)]


def test_published_weights_that_are_nowhere_fail_the_job_by_name(worked: Stack):
    """Never a silent start from nothing."""
    spec = dict(examples()["fake-resnet18"])
    job = worked.client.wait(worked.client.submit(spec | {"model": spec["model"] | {"weights": "DEFAULT"}})["id"], timeout=120)

    assert (job["state"], job["reason"]) == ("failed", "bad_data")
    assert "resnet18" in job["error"]["message"]
    assert "looked at" in job["error"]["message"]


def test_an_epochs_time_is_learnt_from_finished_jobs_and_judged_at_the_end(worked: Stack):
    """Nothing is known of a model at first, and no guess is made; of the second job the record says how far the estimate was off."""
    spec = dict(examples()["digits-cnn"]) | {"dataloader": {"batch_size": 48}, "epochs": 2}
    unknown = worked.client.validate(spec)["estimate"]

    worked.client.wait(worked.client.submit(spec)["id"], timeout=120)
    second = worked.client.wait(worked.client.submit(spec | {"seed": 5})["id"], timeout=120)

    assert unknown["seconds_per_epoch"] is None
    assert "No finished job" in unknown["reason"]
    told = second["estimate"]
    assert told["seconds_error"] == pytest.approx(told["measured_seconds_per_epoch"] / told["seconds_per_epoch"] - 1)
    assert told["memory_error"] == pytest.approx(told["measured_memory_bytes"] / told["memory_bytes"] - 1)

"""Models out: what a job hands out runs where nothing of this service is, and says what the job said; what cannot be so is a warning."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from service.spec.job import JobSpec
from tests.attempts import attempt
from tests.checking import checked, resolved
from worker.training.data import Batches
from worker.training.facts import Succeeded, Warned
from worker.training.preparing import prepare

pytestmark = pytest.mark.filterwarnings("ignore:The transform `ToTensor:UserWarning")

DIGITS = {"type": "Digits", "limit": 200}
COMMON = {"loss": "CrossEntropyLoss", "optimizer": {"type": "Adam", "lr": 0.01}, "epochs": 1, "resources": {"threads": 1}}
EVERYTHING = {"export": ["pt2", "onnx"], "evaluation": {"predictions": True}}


def sequential(*layers: Any, **changes: Any) -> dict[str, Any]:
    """A small job of these layers."""
    return COMMON | {"dataset": DIGITS, "model": {"type": "Sequential", "layers": list(layers)}} | changes


HEAD = {"type": "Linear", "out_features": 10}
PREPROCESSED = [
    {"type": "Resize", "size": [10, 10]},
    "ToTensor",
    {"type": "Resize", "size": [8, 8]},
    {"type": "Normalize", "mean": [0.3], "std": [0.37]},
]
JOBS: dict[str, dict[str, Any]] = {
    "mlp": sequential("Flatten", {"type": "Linear", "out_features": 16}, "ReLU", "Dropout", HEAD) | EVERYTHING,
    "cnn": sequential({"type": "Conv2d", "out_channels": 4, "kernel_size": 3}, "BatchNorm2d", {"type": "Residual", "layers": ["ReLU"]}, "Flatten", HEAD)
    | EVERYTHING
    | {"training": {"ema_decay": 0.9}},
    "resnet18": COMMON
    | EVERYTHING
    | {"dataset": {"type": "FakeData", "size": 40, "image_size": [3, 32, 32]}, "model": {"type": "torchvision", "name": "resnet18"}},
    "lstm": sequential({"type": "Flatten", "start_dim": 1, "end_dim": 2}, {"type": "LSTM", "hidden_size": 8, "returns": "last"}, HEAD) | EVERYTHING,
    "bytes": sequential("Flatten", HEAD, dataset=DIGITS | {"transforms": PREPROCESSED})
    | {"evaluation": {"predictions": True}, "export": [{"type": "pt2", "preprocessing": True}, {"type": "onnx", "preprocessing": True, "opset": 18}]},
}  # fmt: skip

STRANGER = """
import json, os, re, sys
sys.path.append(sys.argv[1])
import importlib.util
assert importlib.util.find_spec("service") is None and importlib.util.find_spec("worker") is None
import onnxruntime, torch
from pyarrow import parquet
from safetensors.torch import load_file

found = {}
for folder in sys.argv[2:]:
    os.chdir(folder)
    inputs = load_file("../samples.safetensors")
    table = parquet.read_table("evaluation/predictions.parquet").to_pydict()
    wanted = torch.tensor([table[name] for name in table if name.startswith("probability")]).T
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    graph = torch.export.load("model.pt2").module()
    names = {}
    exec(re.search("^(`{3,})python\\n(.*?)^\\\\1$", open("README.md").read(), flags=re.M | re.S)[2], names)
    runs = {
        "onnx": lambda batch: torch.from_numpy(session.run(None, {"input": batch.numpy()})[0]),
        "pt2": graph,
        "readme": names["model"],
    }
    gaps = {}
    for name, run in runs.items():
        rows = inputs["raw" if "raw" in inputs and name != "readme" else "samples"]
        with torch.inference_mode():
            said = torch.cat([run(batch) for batch in (rows[:1], rows[1:3], rows[3:])])
        gaps[name] = (said.softmax(1) - wanted[: len(rows)]).abs().max().item()
    found[folder] = gaps | {"opset": json.load(open("exports.json"))["model.onnx"]["opset"], "shape": session.get_inputs()[0].shape}
print(json.dumps(found))
"""


def samples_of(spec: JobSpec, folder: Path) -> None:
    """The first test samples as the model sees them, and as bytes where the graph takes these."""
    split = prepare(spec, datasets_dir=Path()).splits.test
    first = [torch.arange(min(20, len(split)))]
    ((samples, _),) = Batches(split, spec, device=torch.device("cpu")).over(first)
    kept = {"samples": samples.contiguous()}
    if spec.export[0].preprocessing:
        resize = {"type": "Resize", "size": [10, 10]}
        raw = resolved(JOBS["bytes"] | {"dataset": DIGITS | {"transforms": [resize, "ToImage", {"type": "ToDtype", "dtype": "float32"}]}})
        ((images, _),) = Batches(split, raw, device=torch.device("cpu")).over(first)
        kept["raw"] = images.to(torch.uint8).contiguous()
    save_file(kept, folder / "samples.safetensors")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each job's files say in a process that has torch, safetensors and onnxruntime, and nothing of this service."""
    places = {}
    for name, body in JOBS.items():
        folder = tmp_path_factory.mktemp(name)
        spec = resolved(body)
        artifacts, told = attempt(spec, folder)
        assert [fact for fact in told if isinstance(fact, Warned)] == []
        samples_of(spec, folder)
        places[str(artifacts)] = name
    command = [sys.executable, "-I", "-S", "-c", STRANGER, sysconfig.get_paths()["purelib"], *places]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout)
    return {places[folder]: found for folder, found in said.items()}


@pytest.mark.parametrize("form", ["onnx", "pt2", "readme"])
@pytest.mark.parametrize("name", JOBS)
def test_each_form_gives_the_jobs_predictions_to_a_stranger(strangers: dict[str, Any], name: str, form: str):
    """model.onnx, model.pt2, and the lines of the model card, for batches of 1, 2 and more."""
    assert strangers[name][form] < 1e-4


def test_the_opset_is_said_and_the_batch_has_a_name(strangers: dict[str, Any]):
    """Asked for or torch's own."""
    assert strangers["bytes"]["opset"] == 18
    assert strangers["mlp"]["opset"] >= 18
    assert strangers["mlp"]["shape"] == ["batch", 1, 8, 8]


def test_this_process_never_saw_onnx(strangers: dict[str, Any]):
    """Neither a job without exports nor the trainer of one with them imports it."""
    assert strangers
    assert [name for name in sys.modules if name.split(".")[0] in ("onnx", "onnxscript", "onnxruntime")] == []


CHOOSES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images):
        outputs = self.layer(images.flatten(1))
        return outputs * 2 if outputs.sum() > 0 else outputs
"""


def test_an_export_that_cannot_be_made_or_differs_is_a_warning_and_no_file(tmp_path: Path):
    """Each with its place and reason; the other one is there, and the job has succeeded."""
    chooses = {"model": {"type": "Module", "class_name": "Net", "code": CHOOSES}, "dataset": DIGITS}
    exact = sequential({"type": "Conv2d", "out_channels": 8, "kernel_size": 3}, "GELU", "Flatten", HEAD)

    refused, told = attempt(resolved(COMMON | chooses | {"export": ["pt2"]}), tmp_path / "refused")
    differing, also_told = attempt(resolved(exact | {"export": ["pt2", {"type": "onnx", "tolerance": 1e-12}]}), tmp_path / "differing")

    warned = [fact for fact in [*told, *also_told] if isinstance(fact, Warned)]
    assert [(fact.code, fact.pointer) for fact in warned] == [("not_exported", "/export/0"), ("export_differs", "/export/1")]
    assert "data-dependent" in warned[0].detail
    assert "1e-12" in warned[1].detail
    assert all(isinstance(facts[-1], Succeeded) for facts in (told, also_told))
    assert not (refused / "model.pt2").exists()
    assert not (differing / "model.onnx").exists()
    assert json.loads((refused / "exports.json").read_text()) == {}
    assert json.loads((differing / "exports.json").read_text())["model.pt2"]["samples"] == 32


POOL = {"type": "AdaptiveMaxPool2d", "output_size": 3}
BLUR = {"type": "GaussianBlur", "kernel_size": 3}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (sequential(POOL, "Flatten", HEAD), "AdaptiveMaxPool2d at 0 makes [3, 3] of [8, 8]"),
        (sequential({"type": "FractionalMaxPool2d", "kernel_size": 2, "output_size": 4}, "Flatten", HEAD), "FractionalMaxPool2d at 0"),
        (sequential("RReLU", "Flatten", HEAD), "LeakyReLU"),
        (sequential({"type": "Unflatten", "dim": 1, "unflattened_size": [1, 1]}, {"type": "AdaptiveAvgPool3d", "output_size": [1, 2, 2]}, "Flatten", HEAD), "AdaptiveAvgPool3d"),
        (sequential({"type": "Flatten", "start_dim": 1, "end_dim": 2}, {"type": "LSTM", "hidden_size": 8, "proj_size": 4, "returns": "last"}, HEAD), "proj_size"),
        (sequential("Flatten", HEAD, dataset=DIGITS | {"transforms": ["ToImage", BLUR, {"type": "ToDtype", "dtype": "float32", "scale": True}]}), "GaussianBlur"),
    ],
)  # fmt: skip
def test_an_export_that_will_fail_is_warned_of_at_post(body: dict[str, Any], word: str):
    """The spec is accepted; the warning names the layer or the transform."""
    verdict = checked(body | {"export": ["pt2", {"type": "onnx", "preprocessing": True}]})

    assert verdict.valid
    warnings = [warning for warning in verdict.warnings if warning.code == "not_exported"]
    assert [(warning.pointer, word in warning.detail) for warning in warnings] == [("/export/1", True)]


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "AdaptiveMaxPool2d", "output_size": 4},
        {"type": "AdaptiveAvgPool2d", "output_size": 3},
        {"type": "MaxPool2d", "kernel_size": 3},
    ],
)
def test_what_can_be_exported_is_not_warned_of(layer: dict[str, Any]):
    """Adaptive pools whose sizes divide, and averages of every size."""
    assert checked(sequential(layer, "Flatten", HEAD, export=["pt2", "onnx"])).warnings == ()


@pytest.mark.parametrize(
    ("export", "pointer", "code"),
    [
        (["onnx", {"type": "onnx", "opset": 18}], "/export/1", "duplicate"),
        (["onx"], "/export/0", "unknown_type"),
        ([{"type": "pt2", "opset": 18}], "/export/0/opset", "unknown_key"),
        ([{"type": "onnx", "tolerance": 0}], "/export/0/tolerance", "greater_than"),
    ],
)
def test_what_is_no_export_is_a_fault(export: list[Any], pointer: str, code: str):
    """At its place."""
    verdict = checked(sequential("Flatten", HEAD, export=export))

    assert [(fault.pointer, fault.code) for fault in verdict.errors] == [(pointer, code)]

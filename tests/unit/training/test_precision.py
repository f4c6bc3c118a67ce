"""Arithmetic that a spec asks for: every layer can do it, resuming gives equal bits in it, train.py does the same, auto takes the fastest."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn

from service.spec.job import read_parts
from tests.checking import resolved
from tests.corpus.good import LAYERS, with_layer
from tests.programs import weights_here
from worker.training.build import build_model
from worker.training.checkpoint import restore, snapshot, write
from worker.training.facts import EpochDone, Fact, PlanChosen, StepDone, Warned
from worker.training.loop import Run, train
from worker.training.plan import Plan
from worker.training.preparing import prepare
from worker.training.probing import Probe

CONVOLUTIONS: list[Any] = [
    {"type": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1},
    "BatchNorm2d",
    "ReLU",
    "Flatten",
    {"type": "Dropout", "p": 0.2},
    {"type": "Linear", "out_features": 10},
]
BODY: dict[str, Any] = {
    "seed": 9,
    "dataset": {"type": "Digits", "limit": 320},
    "dataloader": {"batch_size": 32},
    "model": {"type": "Sequential", "layers": CONVOLUTIONS},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "AdamW", "lr": 0.01},
    "epochs": 2,
    "resources": {"threads": 1},
}
NARROW = {"precision": "bfloat16", "channels_last": True, "fused": True}
SCALED = {"precision": "float16", "gradient_accumulation_steps": 3, "clip_grad_norm": 1.0}


def run_of(training: dict[str, Any], tell: Any = print) -> Run:
    """A fresh run."""
    return prepare(resolved(BODY | {"training": training}), datasets_dir=Path(), tell=tell)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("plan", [Plan(precision="bfloat16", channels_last=True), Plan(precision="float16")], ids=str)
@pytest.mark.parametrize(("kind", "layer"), [(kind, layer) for kind, layer, _ in LAYERS], ids=[written for _, _, written in LAYERS])
def test_every_layer_trains_in_it(kind: str, layer: dict[str, Any], plan: Plan):
    """Forward and backward, with float32 coming out: what the check accepts does not fail on its arithmetic."""
    torch.manual_seed(0)
    model = build_model(resolved(with_layer(kind, layer)).model)
    plan.lay_out(model)

    outputs = plan.forward(model, torch.device("cpu"))(torch.rand(4, 3, 8, 8))
    outputs.sum().backward()

    assert outputs.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize("training", [NARROW, SCALED], ids=["bfloat16", "float16"])
def test_a_resumed_training_ends_with_equal_bits(training: dict[str, Any], tmp_path: Path):
    """Strides of weights and optimizer state, and the scaler's state, are part of a checkpoint."""
    whole = run_of(training)
    list(train(whole))
    broken = run_of(training)
    next(fact for fact in train(broken) if isinstance(fact, StepDone) and fact.step == 3)
    write(snapshot(broken), tmp_path / "checkpoint")

    resumed = run_of(training)
    restore(resumed, tmp_path / "checkpoint")
    list(train(resumed))

    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
        assert tensor.stride() == resumed.model.state_dict()[name].stride()


@pytest.mark.parametrize("training", [NARROW, SCALED], ids=["bfloat16", "float16"])
def test_the_program_comes_as_close_as_it_says(training: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Within the tolerance that train.py states at its top."""
    run = run_of(training)
    last = [fact for fact in train(run) if isinstance(fact, EpochDone)][-1].metrics

    weights_here(run.spec, tmp_path)

    program = (tmp_path / "train.py").read_text()
    assert "not bit for bit" in program
    assert "significant bits" in program
    found = re.search(r"epoch 2: train_loss ([\d.]+), train_accuracy ([\d.]+)", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) == pytest.approx(last["train_loss"], rel=0.05)
    assert float(found[2]) == pytest.approx(last["train_accuracy"], abs=0.01)


def test_auto_is_decided_told_and_kept(tmp_path: Path):
    """The keys are filled in; what goes on from a checkpoint computes as the checkpoint's training did, and measures nothing."""
    facts: list[Fact] = []
    run = run_of({"precision": "auto"}, facts.append)

    (chosen,) = facts
    assert isinstance(chosen, PlanChosen)
    assert len(chosen.measured) == 5
    assert chosen.training == asdict(run.plan)
    assert run.spec.training.precision == run.plan.precision != "auto"

    next(fact for fact in train(run) if isinstance(fact, StepDone))
    other = Plan(precision="bfloat16", channels_last=not run.plan.channels_last)
    write(snapshot(_as(run, other)), tmp_path / "checkpoint")
    facts.clear()
    spec = resolved(BODY | {"training": {"precision": "auto"}})
    again = prepare(spec, datasets_dir=Path(), resume={"directory": str(tmp_path / "checkpoint")}, tell=facts.append)

    assert again.plan == other
    assert facts == []


def test_a_probe_leaves_everything_as_it_was():
    """Another training from the same seed draws and computes the same: weights, statistics and generators are not touched."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(144, 10))
    probe = _probe(model)
    before, drawn = {name: each.clone() for name, each in model.state_dict().items()}, torch.get_rng_state()

    probe.choose(Plan(), can_fuse=True)

    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("milliseconds", "taken"),
    [
        ({"float32": 10.0, "bfloat16, channels_last": 4.0}, "bfloat16, channels_last"),
        ({"float32": 10.0, "bfloat16": 9.8, "float32, channels_last": 9.9}, "float32"),
        ({"float32": 10.0, "bfloat16": 6.0, "bfloat16, fused": 5.0}, "bfloat16, fused"),
        ({"float32": None, "bfloat16": 20.0}, "bfloat16"),
    ],
)
def test_the_fastest_is_taken_where_it_is_worth_it(monkeypatch: pytest.MonkeyPatch, milliseconds: dict[str, float], taken: str):
    """A twentieth at least, over the plan before it; what fails is not taken."""
    monkeypatch.setattr(Probe, "milliseconds", lambda _, plan: milliseconds.get(str(plan)))

    plan, timed = _probe(nn.Conv2d(1, 1, 1)).choose(Plan(), can_fuse=True)

    assert str(plan) == taken
    assert len(timed) == 5


def test_what_the_model_cannot_do_is_not_taken():
    """An operator without the form raises RuntimeError in its backward or forward pass."""

    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs = self.layer(inputs.flatten(1))
            if outputs.dtype != torch.float32:
                raise RuntimeError("\"picky\" not implemented for 'BFloat16'")
            return outputs

    plan, timed = _probe(Picky()).choose(Plan(), can_fuse=False)

    assert plan == Plan()
    assert [str(each) for each in timed][1] == "bfloat16: failed"


def test_a_fused_form_that_torch_has_not_is_refused():
    """With the place, and those that have one."""
    _, faults = read_parts(BODY | {"optimizer": "RMSprop", "training": {"fused": True}})

    assert [(fault.pointer, fault.code) for fault in faults] == [("/training/fused", "not_fused")]
    assert "AdamW" in str(faults[0].suggestion)


def _probe(model: nn.Module) -> Probe:
    batch = (torch.rand(8, 1, 8, 8), torch.randint(0, 10, (8,)))
    return Probe(
        model,
        nn.CrossEntropyLoss(),
        lambda copied, plan: torch.optim.SGD(copied.parameters(), lr=0.1, **plan.options()),
        [batch],
        torch.device("cpu"),
    )


def _as(run: Run, plan: Plan) -> Run:
    return replace(run, plan=plan)


def test_without_a_compiler_the_model_is_trained_as_it_is_and_the_job_says_so(monkeypatch: pytest.MonkeyPatch):
    """A missing tool is no reason to fail; what was done stands in the spec, and so in train.py."""
    monkeypatch.setattr("worker.training.plan.shutil.which", lambda _: None)
    facts: list[Fact] = []

    run = run_of({"compile": True}, facts.append)

    (warned,) = facts
    assert isinstance(warned, Warned)
    assert (warned.code, warned.pointer) == ("not_compiled", "/training/compile")
    assert "g++" in warned.detail
    assert run.forward is run.model
    assert run.spec.training.compile is False


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.long
def test_a_compiled_training_and_its_program_come_as_close_as_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """An nn.Sequential is really compiled, which its own compile() would not do."""
    run = run_of({"compile": True})
    torch._dynamo.utils.counters.clear()
    last = [fact for fact in train(run) if isinstance(fact, EpochDone)][-1].metrics
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0

    weights_here(run.spec, tmp_path)

    assert "compiled = torch.compile(model)" in (tmp_path / "train.py").read_text()
    found = re.search(r"epoch 2: train_loss ([\d.]+)", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) == pytest.approx(last["train_loss"], rel=0.05)


class Recorded:
    """A Linear layer's CUDA graph, as far as its memory goes: each run writes outputs and gradients to the same place, and over what was there."""

    def __init__(self, layer: nn.Linear, mode: str) -> None:
        self.weight, self.mode = layer.weight, mode
        self.outputs, self.gradient = torch.empty(4, layer.out_features), torch.empty_like(layer.weight)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """The outputs, in the graph's memory."""
        outputs: torch.Tensor = _Replayed.apply(inputs, self.weight, self)
        return outputs


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, graph: Recorded) -> torch.Tensor:
        ctx.save_for_backward(inputs)
        ctx.graph = graph
        graph.gradient.fill_(float("nan"))
        return graph.outputs.copy_(inputs @ weight.T).detach()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor, None]:  # type: ignore[override]  # torch has *args
        return None, ctx.graph.gradient.copy_(gradient.T @ ctx.saved_tensors[0]).detach(), None


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_what_a_graph_gave_out_outlives_its_next_run(monkeypatch: pytest.MonkeyPatch, mode: str):
    """Outputs that wait to be counted, and the gradients of a step of several batches; of a parameter that had none, None."""
    layer, twin = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    twin.load_state_dict(layer.state_dict())
    layer.register_parameter("unused", nn.Parameter(torch.zeros(2)))
    monkeypatch.setattr(torch, "compile", Recorded)
    monkeypatch.setattr(Plan, "records", lambda *_: True)
    forward = Plan(compile=mode).forward(layer, torch.device("cpu"))
    optimizer, batches = torch.optim.SGD(layer.parameters(), lr=0.1), [torch.randn(4, 3) for _ in range(6)]

    kept = []
    for number, inputs in enumerate(batches, 1):
        outputs = forward(inputs)
        outputs.square().mean().backward()
        kept.append(outputs.detach())
        if number % 3 == 0:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    expected, plain = [], torch.optim.SGD(twin.parameters(), lr=0.1)
    for number, inputs in enumerate(batches, 1):
        outputs = twin(inputs)
        outputs.square().mean().backward()
        expected.append(outputs.detach())
        if number % 3 == 0:
            plain.step()
            plain.zero_grad(set_to_none=True)
    torch.testing.assert_close(kept, expected)
    torch.testing.assert_close(layer.weight, twin.weight)
    assert layer.get_parameter("unused").grad is None


@pytest.mark.parametrize(
    ("mode", "device", "recording"),
    [
        ("reduce-overhead", "cuda", True),
        ("max-autotune", "cuda", True),
        (True, "cuda", False),
        (False, "cuda", False),
        ("reduce-overhead", "cpu", False),
    ],
)
def test_graphs_are_recorded_on_a_gpu_where_the_mode_says_so(mode: bool | str, device: str, recording: bool):
    """Elsewhere the compiled model is called as it is."""
    assert Plan(compile=mode).records(torch.device(device)) == recording

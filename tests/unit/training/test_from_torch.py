"""`from_torch` on real torch objects: the spec that it gives builds the same objects and trains to the same bits."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from service.api.examples import examples
from service.client import from_torch
from service.client.declaring.layers import layer_of
from service.client.declaring.schedules import schedule_of
from service.client.declaring.training import loss_of, optimizer_of
from service.spec.catalog import load
from service.spec.job import JobSpec
from service.spec.model import Layer
from service.spec.training import AnyOptimizer, Loss, Scheduler
from tests.checking import checked, resolved
from tests.corpus.random_specs import _value, random_spec
from tests.unit.ingest.corpus import zipped
from tests.unit.training.test_brought import brought, png
from tests.unit.training.test_tasks import several_labels, table
from worker.training import textbook
from worker.training.build import build_layer, build_loss, build_optimizer, build_scheduler, seeded_model
from worker.training.loop import Run, train
from worker.training.preparing import prepare
from worker.training.shapes import TORCH_ERRORS

SEED = int(os.environ.get("TRAINYARD_FUZZ_SEED", "20261126"))
MODELS = int(os.environ.get("TRAINYARD_FUZZ_MODELS", "100"))
LAYER, LOSS, OPTIMIZER, SCHEDULER = (TypeAdapter[Any](each) for each in (Layer, Loss, AnyOptimizer, Scheduler))
LAYERED = [name for name, spec in examples().items() if spec["model"]["type"] in ("Sequential", "Graph")]
OWN = {
    "own-images": lambda: zipped({f"{kind}/{at}.png": png(np.full((70, 66, 3), 10 * at, np.uint8)) for kind in "abcde" for at in range(6)}),
    "own-several-labels": several_labels,
    "own-table-binary": lambda: table(load_breast_cancer(), ("malignant", "benign")),
    "own-table-classes": lambda: table(load_wine(), ("barolo", "grignolino", "barbera")),
    "own-table-numbers": lambda: table(load_diabetes()),
}


def test_there_are_examples() -> None:
    """Nearly all have layers."""
    assert len(LAYERED) >= 20
    assert set(OWN) == {name for name in LAYERED if name.startswith("own-")}


def shortened(name: str, folder: Path) -> tuple[JobSpec, Path]:
    """An example that trains for a moment, resolved, and where its data lie: its own, a few of them, or made-up ones of MNIST's size."""
    body: dict[str, Any] = json.loads(json.dumps(examples()[name]))
    more: dict[str, Any] = {"epochs": min(body["epochs"], 2), "resources": {"threads": 1}}
    dataset = body["dataset"] if isinstance(body["dataset"], dict) else {"type": body["dataset"]}
    if name in OWN:
        return brought(OWN[name](), folder, dataset, **{key: part for key, part in body.items() if key not in ("dataset", "name")} | more)
    if dataset["type"] == "MNIST":
        fake = {"type": "FakeData", "size": 150, "image_size": [1, 28, 28], "num_classes": 10}
        dataset = fake | {key: value for key, value in dataset.items() if key == "validation_split"}
    else:
        dataset["limit"] = 150
    if name == "digits-workers":
        body["dataloader"]["num_workers"] = 0
    if name == "digits-warmup":
        body["lr_scheduler"]["milestones"] = [4]
    if name == "digits-augmented":
        body["lr_scheduler"]["milestones"] = [1]
    return resolved(body | {"dataset": dataset} | more), folder


def read_back(run: Run) -> dict[str, Any]:
    """What `from_torch` says of a job's own objects; of the rest, what it was told."""
    spec = run.spec
    said = spec.model_dump(mode="json")
    loads = spec.dataloader
    size = TensorDataset(torch.zeros(8))
    more = {name: said[name] for name in ("seed", "training", "checkpoint", "evaluation", "resources")}
    return from_torch(
        run.model,
        run.loss_fn,
        run.optimizer,
        dataset=said["dataset"],
        epochs=spec.epochs,
        lr_scheduler=run.scheduler,
        interval=spec.lr_scheduler and spec.lr_scheduler.arguments().get("interval"),
        monitor=spec.lr_scheduler and spec.lr_scheduler.arguments().get("monitor"),
        dataloader=said["dataloader"]
        if loads.sampler
        else DataLoader(size, loads.batch_size, shuffle=loads.shuffle, drop_last=loads.drop_last),
        eval_dataloader=DataLoader(size, loads.eval_batch_size),
        **more,
    )


def trained(run: Run) -> dict[str, torch.Tensor]:
    for _ in train(run):
        pass
    return run.judged.state_dict()


def same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> bool:
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of so few samples not every class is there
@pytest.mark.parametrize("name", LAYERED)
def test_an_example_round_trips_to_the_same_weights(name: str, tmp_path: Path) -> None:
    """The example's torch objects, said again by `from_torch`, are the same parts, and train to the same weights under the same names."""
    spec, data = shortened(name, tmp_path)
    run = prepare(spec, datasets_dir=data)

    again = resolved(read_back(run))

    assert (again.loss, again.lr_scheduler, again.dataloader) == (spec.loss, spec.lr_scheduler, spec.dataloader)
    assert again.optimizer.arguments() == spec.optimizer.arguments()
    assert same(seeded_model(again).state_dict(), seeded_model(spec).state_dict())
    weights = trained(prepare(spec, datasets_dir=data))
    assert same(trained(prepare(again, datasets_dir=data)), weights)
    assert not same(seeded_model(spec).state_dict(), weights)


def test_the_textbooks_network_is_said_as_one_would_write_it() -> None:
    """Short: bare words where there is nothing else to say, numbers as they were given, nothing that is so by default."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(TensorDataset(torch.zeros(8)), batch_size=64, shuffle=True)

    spec = from_torch(model, nn.CrossEntropyLoss(), optimizer, dataset="MNIST", epochs=5, dataloader=loader, name="first")

    assert spec == {
        "dataset": "MNIST",
        "model": {
            "type": "Sequential",
            "layers": [
                "Flatten",
                {"type": "Linear", "in_features": 784, "out_features": 128},
                "ReLU",
                {"type": "Linear", "in_features": 128, "out_features": 10},
            ],
        },
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9},
        "epochs": 5,
        "name": "first",
    }


def alike(ours: nn.Module, theirs: nn.Module) -> bool:
    """The same modules by name, with the same plain attributes; (2, 2) is 2."""

    def plain(value: Any) -> Any:
        return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else list(value) if isinstance(value, tuple) else value

    def facts(module: nn.Module) -> dict[str, Any]:
        kinds = (bool, int, float, str, tuple, type(None))
        found = {name: plain(value) for name, value in vars(module).items() if isinstance(value, kinds)}
        # torch takes the kernel's size for a stride of None
        return found | ({"stride": found["kernel_size"]} if "kernel_size" in found and found.get("stride") is None else {})

    pairs = zip(ours.named_modules(), theirs.named_modules(), strict=True)
    return all(name == their_name and type(one) is type(other) and facts(one) == facts(other) for (name, one), (their_name, other) in pairs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", load()["layers"])
def test_every_layer_is_read_as_it_was_made(name: str) -> None:
    """For arguments drawn in and out of their ranges: what torch makes of them, read and made again, is the same layer."""
    rng, read = random.Random(f"{SEED} {name}"), 0
    left_out = 0.0 if name == "Transformer" else 0.6  # by default it has twelve layers of 512 features
    for _ in range(60):
        body: dict[str, Any] = {"type": name}
        for argument, says in load()["layers"][name]["args"].items():
            if says.get("infer"):
                body[argument] = rng.choice([2, 4, [4, 6]]) if says.get("many") else rng.choice([2, 4, 8])
            elif "default" not in says or rng.random() >= left_out:
                body[argument] = _value(rng, says, torch.zeros(2, 4, 4, 4))
        try:
            layer = LAYER.validate_python(body)
            torch.manual_seed(0)
            made = build_layer(layer)
        except TORCH_ERRORS:  # what they take is counted
            continue
        said = layer_of(made, "model.0")
        torch.manual_seed(0)
        again = build_layer(LAYER.validate_python(said))
        assert alike(again, made), (body, said)
        assert same(again.state_dict(), made.state_dict()), (body, said)
        assert json.loads(json.dumps(said)) == said
        read += 1

    assert read >= 3, f"torch took {read} of the layers that were drawn"


@pytest.mark.filterwarnings("ignore")
def test_random_models_round_trip() -> None:
    """Nested layers of the whole catalog, some with options for some parameters: the spec is accepted and draws the same weights."""
    rng, tried = random.Random(SEED), 0
    torch.set_num_threads(1)
    while tried < MODELS:
        verdict = checked(random_spec(rng))
        if not verdict.valid:
            continue
        tried += 1
        spec = JobSpec.model_validate(verdict.resolved_spec)
        model, loss = seeded_model(spec), build_loss(spec.loss)
        optimizer = build_optimizer(spec.optimizer, model)
        scheduler = None if spec.lr_scheduler is None else build_scheduler(spec.lr_scheduler, optimizer)
        dataset = spec.model_dump(mode="json")["dataset"]
        more = {
            "dataloader": {"batch_size": spec.dataloader.batch_size, "drop_last": spec.dataloader.drop_last},
            "evaluation": {"metrics": []},
        }
        parts = {"interval": None if scheduler is None else spec.lr_scheduler.arguments().get("interval"), "resources": {"threads": 1}}
        said = from_torch(model, loss, optimizer, dataset=dataset, epochs=1, lr_scheduler=scheduler, **parts, **more)

        again = checked(said)

        assert again.valid, (said, again.errors)
        spec_again = JobSpec.model_validate(again.resolved_spec)
        assert same(seeded_model(spec_again).state_dict(), model.state_dict()), said
        assert (spec_again.loss, spec_again.optimizer, spec_again.lr_scheduler) == (spec.loss, spec.optimizer, spec.lr_scheduler), said


def drawn(rng: random.Random, group: str, name: str) -> dict[str, Any]:
    """A loss, optimizer or schedule with some of its arguments drawn."""
    body: dict[str, Any] = {"type": name}
    for argument, says in load()[group][name]["args"].items():
        if "default" in says and rng.random() < 0.5:
            continue
        match says["type"]:
            case "declared":
                body[argument] = [drawn(rng, group, each) for each in rng.sample(["StepLR", "LinearLR", "ExponentialLR"], 2)]
            case "floats":
                length = says.get("length") or 3
                body[argument] = [round(rng.uniform(0.01, 0.9), 3) for _ in range(length)]
            case "ints":
                body[argument] = [rng.randrange(2, 9)]
            case "float" if says.get("many"):
                body[argument] = round(rng.uniform(0.5, 2), 3)
            case "float":
                body[argument] = round(rng.uniform(0.01, 0.9), 3)
            case "int":
                body[argument] = rng.randrange(2, 90)
            case "str":
                body[argument] = "val_loss"
            case _:
                body[argument] = rng.choice(says["choices"] if says["type"] == "choice" else [True, False])
    return body


@pytest.mark.parametrize("name", load()["losses"])
def test_every_loss_is_read_as_it_was_made(name: str) -> None:
    """Its arguments come back as they were given, class weights in the decimals that were written."""
    rng, read = random.Random(f"{SEED} {name}"), 0
    for _ in range(20):
        body = drawn(rng, "losses", name)
        if body.get("ignore_index"):
            body["ignore_index"] = -rng.randrange(100)
        declared = LOSS.validate_python(body)
        said = loss_of(build_loss(declared))
        assert LOSS.validate_python(said) == declared
        read += 1

    assert read == 20


@pytest.mark.parametrize("name", load()["optimizers"])
def test_every_optimizer_is_read_as_it_was_made(name: str) -> None:
    """Its arguments come back as they were given, also those of groups."""
    rng, read = random.Random(f"{SEED} {name}"), 0
    for _ in range(40):
        body = drawn(rng, "optimizers", name)
        if rng.random() < 0.5:
            body["groups"] = [{"match": "^2\\.", "lr": 0.125}, {"match": r"\bbias$", "weight_decay": 0.25}][: 1 if name == "Rprop" else 2]
        model = nn.Sequential(*(nn.Linear(3, 3, bias=name != "Muon") for _ in range(3)))
        try:
            declared = OPTIMIZER.validate_python(body)
            made = build_optimizer(declared, model)
        except (ValueError, TypeError):  # numbers that do not go together
            continue
        said = optimizer_of(made, model, cycles=False)
        again = OPTIMIZER.validate_python(said)
        assert again.arguments() == declared.arguments(), (body, said)
        theirs = build_optimizer(again, model)
        assert [without_parameters(group) for group in theirs.param_groups] == [without_parameters(group) for group in made.param_groups]
        held = [[[id(each) for each in group["params"]] for group in optimizer.param_groups] for optimizer in (made, theirs)]
        assert held[0] == held[1], (body, said)
        read += 1

    assert read >= 5


def without_parameters(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("name", load()["schedulers"])
def test_every_schedule_is_read_as_it_was_made(name: str, optimizer: str) -> None:
    """Its arguments come back so that it gives the same learning rates and momenta, bit for bit, over its whole length."""
    rng, read = random.Random(f"{SEED} {name}"), 0
    for _ in range(30):
        body = drawn(rng, "schedulers", name)
        body |= {"total_steps": rng.randrange(20, 200)} if name == "OneCycleLR" else {}
        body |= {"T_max": rng.randrange(2, 200)} if name == "CosineAnnealingLR" else {}
        try:
            declared = SCHEDULER.validate_python(body)
            ours = following(declared, optimizer)
        except (ValueError, TypeError):  # numbers that do not go together
            continue
        said = schedule_of(ours[0])
        said |= {"interval": declared.arguments()["interval"]} if "interval" in declared.arguments() else {}
        parameters = optimizer_of(ours[0].optimizer, None, cycles=name in ("OneCycleLR", "CyclicLR"))
        again = SCHEDULER.validate_python(said)
        assert parameters == {"type": optimizer, "lr": 0.25}
        assert following(again, optimizer)[1] == ours[1], (body, said)
        assert json.loads(json.dumps(said)) == said
        read += 1

    assert read >= 5


def following(declared: Any, optimizer: str) -> tuple[Any, list[Any]]:
    """A fresh schedule, and every learning rate and momentum that another one like it gives."""
    fresh, stepped = (
        build_scheduler(declared, getattr(torch.optim, optimizer)([torch.nn.Parameter(torch.zeros(1))], lr=0.25)) for _ in range(2)
    )
    numbers = []
    for at in range(19):
        group = stepped.optimizer.param_groups[0]
        numbers.append((group["lr"], group.get("momentum"), group.get("betas")))
        stepped.step(*([0.5 + at % 3] if declared.type == "ReduceLROnPlateau" else []))
    return fresh, numbers


def test_layers_with_names_keep_them() -> None:
    """A Sequential of named layers becomes a Graph, and the weights are called as they were; a class that only names them is no hindrance."""

    class Named(nn.Sequential):
        def __init__(self) -> None:
            super().__init__()
            self.flat = nn.Flatten()
            self.hidden = nn.Sequential(nn.Linear(64, 8), nn.Tanh())
            self.out = nn.Linear(8, 10)

    torch.manual_seed(3)
    model = Named()

    said = from_torch(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters()), dataset="Digits", epochs=1, seed=3)

    assert [node["name"] for node in said["model"]["nodes"]] == ["flat", "hidden", "out"]
    assert same(seeded_model(resolved(said)).state_dict(), model.state_dict())


def test_recurrent_nets_and_attention_of_torchs_own_are_taken() -> None:
    """nn.LSTM and nn.MultiheadAttention, which hand on more than one tensor, are said with torch's own defaults: batch_first is false there."""
    assert layer_of(nn.LSTM(3, 4), "model.0") == {"type": "LSTM", "input_size": 3, "hidden_size": 4, "batch_first": False}
    attention = {"type": "MultiheadAttention", "embed_dim": 4, "num_heads": 2, "bias": False}
    assert layer_of(nn.MultiheadAttention(4, 2, bias=False, batch_first=True), "model.0") == attention
    assert layer_of(textbook.GRU(3, 4, batch_first=True, returns="last"), "model.0") == {
        "type": "GRU",
        "input_size": 3,
        "hidden_size": 4,
        "returns": "last",
    }


def test_options_of_some_parameters_become_groups() -> None:
    """The textbook's two groups, no decay for norms and biases, are found again by one short pattern, in their order."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0, "lr": 0.5}], lr=0.002)

    said = optimizer_of(optimizer, model, cycles=False)

    assert said == {"type": "AdamW", "lr": 0.002, "groups": [{"match": r"\bbias$|^BatchNorm2d\.", "lr": 0.5, "weight_decay": 0.0}]}
    again = build_optimizer(OPTIMIZER.validate_python(said), model)
    assert [{id(each) for each in group["params"]} for group in again.param_groups] == [
        {id(each) for each in group["params"]} for group in optimizer.param_groups
    ]


def test_a_fused_optimizer_is_said_in_training() -> None:
    """`fused=True` is a key of `training`, beside what else is said there."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    said = from_torch(model, nn.CrossEntropyLoss(), optimizer, dataset="Digits", epochs=1, training={"clip_grad_norm": 1.0})

    assert (said["optimizer"], said["training"]) == ("Adam", {"clip_grad_norm": 1.0, "fused": True})


def test_nothing_is_drawn_or_changed() -> None:
    """Reading takes no random number, and leaves the objects as they were."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters())
    before, weights = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_torch(model.eval(), nn.CrossEntropyLoss(), optimizer, dataset="Digits", epochs=1)

    assert torch.equal(torch.get_rng_state(), before)
    assert same(model.state_dict(), weights)
    assert not model.training

"""Random specs: layers of the whole catalog with arguments drawn in and out of their ranges, odd last batches, losses and targets."""

from __future__ import annotations

import random
import warnings
from typing import Any

import torch

from service.spec.catalog import load
from tests.corpus.oracle import Net

_SKIPPED = (
    "Transformer",
    "Bilinear",
    "CosineSimilarity",
    "PairwiseDistance",
    "TransformerDecoderLayer",
    "MatMul",
    "Add",
    "Multiply",
    "Cat",
)
"""Layers of two inputs; the graphs here join with Add and Cat."""
_LOSSES = (
    ("CrossEntropyLoss", "label"),
    ("CrossEntropyLoss", "label"),
    ("MultiMarginLoss", "label"),
    ("NLLLoss", "label"),
    ("CrossEntropyLoss", "one_hot"),
    ("MSELoss", "one_hot"),
    ("BCEWithLogitsLoss", "one_hot"),
    ("SoftMarginLoss", "signed"),
    ("HuberLoss", "value"),
    ("MSELoss", "input"),
    ("L1Loss", "label"),
    ("NLLLoss", "one_hot"),
)


def random_spec(rng: random.Random) -> dict[str, Any]:
    """One spec over FakeData; about half of them train."""
    channels, side = rng.choice([1, 3]), rng.choice([4, 6, 8, 12, 16])
    classes, rows = rng.choice([2, 3, 10]), rng.choice([2, 4, 8])
    size = rng.choice([rows * 2, rows * 2 + 1, rows * 3 + rng.randrange(rows), rows + 1, max(1, rows - 1)])
    loss, target = rng.choice(_LOSSES)
    body = {
        "dataset": {"type": "FakeData", "size": size, "image_size": [channels, side, side], "num_classes": classes, "target": target},
        "dataloader": {"batch_size": rows, "drop_last": rng.random() < 0.2},
        "model": {"type": "Sequential", "layers": _layers(rng, channels, side, classes, target)},
        "loss": loss,
        "optimizer": rng.choice(["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "Muon", {"type": "SGD", "nesterov": True}]),
        "epochs": 1,
        "evaluation": {"metrics": []},
        "resources": {"threads": 1},
    }
    if rng.random() < 0.2:
        body["lr_scheduler"] = rng.choice(
            [
                {"type": "StepLR", "step_size": 1},
                {"type": "CyclicLR", "base_lr": 0.1, "max_lr": 0.2},
                {"type": "CyclicLR", "base_lr": 0.1, "max_lr": [0.2, 0.3]},
                {"type": "CosineAnnealingLR", "T_max": 3},
                {"type": "LinearLR", "start_factor": 0.0},
            ]
        )
    return body


def _layers(rng: random.Random, channels: int, side: int, classes: int, target: str) -> list[Any]:
    batch = torch.rand(2, channels, side, side)
    layers: list[Any] = []
    for _ in range(rng.randrange(1, 6)):
        layer, batch = _grown(rng, batch, depth=0)
        layers.append(layer)
    if target == "input":
        return (
            layers
            if rng.random() < 0.3
            else [rng.choice(["ReLU", {"type": "Conv2d", "out_channels": channels, "kernel_size": 3, "padding": 1}])]
        )
    outputs = {"value": 1}.get(target, classes)
    if rng.random() < 0.1:
        outputs += rng.choice([-1, 1])
    return [*layers, *(["Flatten"] if rng.random() < 0.95 else []), {"type": "Linear", "out_features": max(1, outputs)}]


def _grown(rng: random.Random, batch: torch.Tensor, *, depth: int) -> tuple[Any, torch.Tensor]:
    """A layer that takes the batch, as a rule, and what it makes of it."""
    for _ in range(40):
        layer = _composite(rng, batch, depth) if depth < 2 and rng.random() < 0.15 else _leaf(rng, batch)
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                output = Net(layer, batch).output
        except Exception:  # torch raises anything; some of what fails is kept
            if rng.random() < 0.02:
                return layer, batch
            continue
        if output.numel() < 20_000 and output.dim() > 1:
            return layer, output
    return "Identity", batch


def _composite(rng: random.Random, batch: torch.Tensor, depth: int) -> dict[str, Any]:
    inner = lambda count: _some(rng, batch, count, depth + 1)  # noqa: E731  # a name for what every form below asks for
    match rng.randrange(6):
        case 0:
            return {"type": "Residual", "layers": inner(1)}
        case 1:
            return {"type": "Residual", "layers": inner(2), "shortcut": inner(1)}
        case 2:
            return {"type": "Concat", "dim": rng.choice([1, 1, 1, 2, -1]), "branches": [inner(1), inner(rng.randrange(2))]}
        case 3:
            return {"type": "Parallel", "branches": [inner(1), ["Identity"]]}
        case 4:
            return {"type": "Repeat", "times": rng.randrange(1, 4), "layers": inner(1)}
    nodes = [{"name": "a", "layer": _some(rng, batch, 1, depth + 1)[0], "inputs": "input"}]
    nodes.append({"name": "b", "layer": rng.choice(["Add", "Cat", "Multiply"]), "inputs": ["a", "input"]})
    return {"type": "Graph", "nodes": nodes}


def _some(rng: random.Random, batch: torch.Tensor, count: int, depth: int) -> list[Any]:
    layers = []
    for _ in range(count):
        layer, batch = _grown(rng, batch, depth=depth)
        layers.append(layer)
    return layers


def _leaf(rng: random.Random, batch: torch.Tensor) -> dict[str, Any]:
    names = [name for name in load()["layers"] if name not in _SKIPPED]
    kind = rng.choice([*names, *["Linear", "Conv2d", "BatchNorm2d", "MaxPool2d", "Flatten", "ReLU", "Unflatten"] * 3])
    body: dict[str, Any] = {"type": kind}
    for name, says in load()["layers"][kind]["args"].items():
        if says.get("infer"):
            if rng.random() < 0.05:
                body[name] = rng.choice([1, 3, 4, int(batch.shape[-1]), int(batch.shape[1])])
        elif "default" not in says or rng.random() < 0.3:
            body[name] = _value(rng, says, batch)
    return body


def _value(rng: random.Random, says: dict[str, Any], batch: torch.Tensor) -> Any:
    if says.get("nullable") and rng.random() < 0.3:
        return None
    if "words" in says and rng.random() < 0.3:
        return rng.choice(says["words"])
    match says["type"]:
        case "bool":
            return rng.random() < 0.5
        case "choice":
            return rng.choice(says["choices"])
        case "ints":
            if rng.random() < 0.5:
                return rng.choice([[2, -1], [1, int(batch.shape[1])], [int(batch.shape[1]), 1], [2, 2]])
            return (
                rng.sample(range(batch.dim()), batch.dim())
                if rng.random() < 0.5
                else [0, *rng.sample(range(1, batch.dim()), batch.dim() - 1)]
            )
        case "int":
            low = says.get("minimum", -2)
            large = 256 if "indices" in says["help"] else 4
            few: list[Any] = [low, 1, 1, 2, 2, 3, 4, large, low - 1]
        case _:
            few = [0.1, 0.5, 1.0, 2.0, float(says.get("minimum", says.get("above", -1))), rng.random()]
    many = says.get("many")
    if many and many != "any" and rng.random() < 0.3:
        return [rng.choice(few) for _ in range(rng.choice(many))]
    return rng.choice(few)

"""How long POST /v1/jobs/validate takes, over HTTP, with the child warm and no verdict remembered. `python -m tests.bench.validate`."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from service.client.sdk import Client
from service.spec.catalog import load
from tests.corpus.good import spec
from tests.e2e.stack import running_stack
from tests.servers import running_s3, running_valkey

CALLS = 300


def ten_layers(width: int) -> dict[str, Any]:
    """A convolutional net of ten layers; another width is another spec."""
    layers: list[Any] = [
        {"type": "Conv2d", "out_channels": width, "kernel_size": 3, "padding": 1},
        "BatchNorm2d",
        "ReLU",
        {"type": "MaxPool2d", "kernel_size": 2},
        {"type": "Conv2d", "out_channels": 32, "kernel_size": 3, "padding": 1},
        "ReLU",
        {"type": "AdaptiveAvgPool2d", "output_size": 4},
        "Flatten",
        {"type": "Dropout", "p": 0.2},
        {"type": "Linear", "out_features": 10},
    ]
    return spec(layers) | {"dataset": "MNIST", "dataloader": {"batch_size": 64}, "optimizer": {"type": "Adam", "lr": 0.001}}


def classifier(name: str) -> dict[str, Any]:
    """One of torchvision's, on images of its size."""
    side = 299 if name == "inception_v3" else 224
    dataset = {"image_size": [3, side, side], "num_classes": 10, "size": 64}
    return spec([], dataset=dataset, dataloader={"batch_size": 16}) | {"model": {"type": "torchvision", "name": name}}


def timed(client: Client, bodies: Iterable[dict[str, Any]]) -> list[float]:
    """Milliseconds of each call. Raises AssertionError where one is refused."""
    taken = []
    for body in bodies:
        started = time.perf_counter()
        verdict = client.validate(body)
        taken.append((time.perf_counter() - started) * 1000)
        assert verdict["valid"], verdict["errors"]
    return sorted(taken)


def told(name: str, taken: list[float]) -> None:
    """One line of figures."""
    figures = {"p50_ms": statistics.median(taken), "p95_ms": taken[int(len(taken) * 0.95)], "max_ms": taken[-1]}
    print(json.dumps({"bench": name, "calls": len(taken), **{key: round(value, 1) for key, value in figures.items()}}))


def main() -> None:
    """A line for ten layers, one for a spec that was seen before, one for the zoo."""
    with tempfile.TemporaryDirectory() as folder, running_valkey(Path(folder) / "v") as url, running_s3(Path(folder) / "s") as s3:
        (Path(folder) / "api").mkdir()
        with running_stack(Path(folder) / "api", redis_url=url, s3=s3.environment()) as stack:
            stack.client.validate(ten_layers(7))  # the child starts
            told("validate, 10 layers", timed(stack.client, (ten_layers(8 + at) for at in range(CALLS))))
            told("validate, seen before", timed(stack.client, (ten_layers(8) for _ in range(CALLS))))
            told("validate, torchvision's classifiers", timed(stack.client, map(classifier, load()["models"])))


if __name__ == "__main__":
    main()

"""Arm 12: two jobs at once with a thread each, beside one job with both cores."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from tests.bench.arms.training import of_job
from tests.bench.ground import service
from tests.bench.harness import Result, blocks, compared
from tests.bench.loops import SPEC
from tests.e2e.stack import Stack

CORES = os.cpu_count() or 1
CNN: dict[str, Any] = {
    "dataset": {"type": "FakeData", "size": 3840, "image_size": [3, 32, 32], "num_classes": 10},
    "dataloader": {"batch_size": 128},
    "model": {
        "type": "Sequential",
        "layers": [
            *(
                {"type": "Conv2d", "out_channels": 32, "kernel_size": 3, "padding": 1},
                "BatchNorm2d",
                "ReLU",
                {"type": "MaxPool2d", "kernel_size": 2},
            ),
            *(
                {"type": "Conv2d", "out_channels": 64, "kernel_size": 3, "padding": 1},
                "BatchNorm2d",
                "ReLU",
                {"type": "MaxPool2d", "kernel_size": 2},
            ),
            *({"type": "Conv2d", "out_channels": 128, "kernel_size": 3, "padding": 1}, "BatchNorm2d", "ReLU"),
            *({"type": "AdaptiveAvgPool2d", "output_size": 1}, "Flatten", {"type": "Linear", "out_features": 10}),
        ],
    },
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9},
}
"""Three convolutions on colour images of 32x32."""


def measure() -> list[Result]:
    """Aggregate samples a second: an MLP, and a small CNN."""
    limits = {"MLP": {"target": 1.3, "floor": 1.1}, "CNN": {"target": 0.95, "floor": 0.9}}
    with service(threads=CORES, workers=2) as stack:
        return [_compared(stack, name, spec, epochs, limits[name]) for name, spec, epochs in (("MLP", SPEC, 4), ("CNN", CNN, 2))]


def _compared(stack: Stack, name: str, spec: dict[str, Any], epochs: int, limits: dict[str, float]) -> Result:
    seeds = count(1)

    def job(threads: int) -> float:
        return of_job(stack, spec | {"seed": next(seeds), "resources": {"threads": threads}}, epochs=epochs)

    def two() -> float:
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(job, [1, 1]))

    what = f"two jobs with a thread each, aggregate samples/s / one with {CORES}: {name}"
    return compared(blocks(two, lambda: job(CORES)), arm="12", what=what, **limits)

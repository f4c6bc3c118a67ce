"""What a CPU training step takes at its fullest, measured, beside what the check says. `python -m tests.bench.memory`."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

from tests.corpus.good import spec

MIB = 1024**2


def mlp() -> dict[str, Any]:
    """Wide layers: weights weigh most."""
    wide = {"type": "Linear", "out_features": 4096}
    return spec(["Flatten", wide, "ReLU", wide, "ReLU", {"type": "Linear", "out_features": 10}], dataset={"image_size": [3, 32, 32], "num_classes": 10, "size": 512}, dataloader={"batch_size": 256}, optimizer="Adam")  # fmt: skip


def cnn() -> dict[str, Any]:
    """Many channels: activations weigh most."""
    layers: list[Any] = [layer for channels in (64, 128) for layer in ({"type": "Conv2d", "out_channels": channels, "kernel_size": 3, "padding": 1}, "BatchNorm2d", "ReLU")]  # fmt: skip
    return spec([*layers, {"type": "MaxPool2d", "kernel_size": 2}, "Flatten", {"type": "Linear", "out_features": 10}], dataset={"image_size": [3, 32, 32], "num_classes": 10, "size": 256}, dataloader={"batch_size": 128})  # fmt: skip


def resnet18() -> dict[str, Any]:
    """torchvision's, with momentum."""
    model = {"type": "torchvision", "name": "resnet18"}
    return spec([], dataset={"image_size": [3, 112, 112], "num_classes": 10, "size": 64}, dataloader={"batch_size": 32}) | {"model": model, "optimizer": {"type": "SGD", "momentum": 0.9}}  # fmt: skip


MODELS = {"MLP": mlp, "CNN": cnn, "ResNet-18": resnet18}


def _resident(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def measured(body: dict[str, Any]) -> int:
    """Bytes that building the model and two steps added to this process at the most."""
    import torch

    from service.spec.training import Optimizer
    from tests.checking import resolved
    from worker.training.build import build_loss, build_model, build_optimizer

    torch.set_num_threads(1)
    plan = resolved(body)
    assert isinstance(plan.optimizer, Optimizer)
    warm = torch.nn.Conv2d(3, 4, 3)(torch.rand(2, 3, 8, 8)).sum()
    warm.backward()
    gc.collect()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
    model, loss_fn = build_model(plan.model), build_loss(plan.loss)
    optimizer = build_optimizer(plan.optimizer, model)
    inputs = torch.rand(plan.dataloader.batch_size, *plan.dataset.facts.shape)
    labels = torch.zeros(len(inputs), dtype=torch.int64)
    for _ in range(2):
        loss_fn(model(inputs), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return _resident("VmHWM") - before


def main() -> None:
    """A line for each model."""
    from tests.checking import checked

    # large blocks go back to the system at once, so that the mark shows what is held at a time
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name, body in MODELS.items():
            real = pool.apply(measured, (body(),))
            memory = checked(body()).memory_bytes
            assert memory is not None
            print(
                json.dumps(
                    {"model": name, "said_mib": memory.total // MIB, "measured_mib": real // MIB, "ratio": round(memory.total / real, 3)}
                )
            )


if __name__ == "__main__":
    main()

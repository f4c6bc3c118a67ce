"""The benchmarks' table for a GPU: samples a second of a job in each plan, beside the textbook's loop on the same device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import worker.training.vision  # noqa: F401  # before torchvision
from tests.gpu.ground import Ground

from torchvision.models import resnet18  # isort: skip

SAMPLES, REHEARSED = 8192, 64
BATCH = 256
EPOCHS = 3
"""The last of them counts."""
PLANS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float32, not deterministic": {"deterministic": False},
    "bfloat16, channels_last": {"precision": "bfloat16", "channels_last": True, "deterministic": False},
    "auto": {"precision": "auto", "deterministic": False},
    "bfloat16, compile": {"precision": "bfloat16", "compile": True, "deterministic": False},
}


def table(ground: Ground, *, holds: Callable[[bool, str], None]) -> list[tuple[str, str]]:
    """resnet18 on made-up colour images of 64 by 64. A job that is slower than the textbook's loop with the same numbers does not hold."""
    samples, batch, side = (REHEARSED, 32, 32) if ground.rehearsed else (SAMPLES, BATCH, 64)
    body: dict[str, Any] = {
        "seed": 1,
        "dataset": {"type": "FakeData", "size": samples, "image_size": [3, side, side], "num_classes": 10},
        "dataloader": {"batch_size": batch},
        "model": {"type": "torchvision", "name": "resnet18"},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9},
        "epochs": 1 if ground.rehearsed else EPOCHS,
    }
    plans = {name: how for name, how in PLANS.items() if not (ground.rehearsed and "precision" in how)}
    textbook = _textbook(ground, samples, batch, side)
    rows, rates = [("textbook's loop, float32, images decoded and in memory", f"{textbook:,.0f} samples/s")], {}
    for name, how in plans.items():
        rates[name] = ground.train(body | {"training": how}).rows[-1].samples_per_second
        rows.append((f"a job, {name}", f"{rates[name]:,.0f} samples/s, {rates[name] / textbook:.2f} x the textbook's"))
    holds(
        ground.rehearsed or rates["float32, not deterministic"] > 0.95 * textbook,
        f"slower than the textbook's loop: {rates}, {textbook:.0f}",
    )
    return rows


def _textbook(ground: Ground, samples: int, batch: int, side: int) -> float:
    """Samples a second of the loop that tutorials have, in its best epoch."""
    device = torch.device("cpu" if ground.rehearsed else "cuda")
    torch.manual_seed(1)
    data = TensorDataset(torch.rand(samples, 3, side, side), torch.randint(10, (samples,)))
    loader = DataLoader(data, batch_size=batch, shuffle=True, pin_memory=device.type == "cuda")
    model, loss_fn = resnet18(num_classes=10).to(device), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    best = 0.0
    for _ in range(1 if ground.rehearsed else EPOCHS):
        started = time.perf_counter()
        for inputs, targets in loader:
            loss = loss_fn(model(inputs.to(device)), targets.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, samples / (time.perf_counter() - started))
    return best

"""The benchmarks' table for a GPU: samples a second of a job in each plan, beside the textbook's loop in the same arithmetic on the same device."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import worker.training.vision  # noqa: F401  # before torchvision
from tests.checking import resolved
from tests.gpu.ground import Ground
from worker.training.data import grouped
from worker.training.epochs import training_batches
from worker.training.loading import load_splits
from worker.training.resident import Residents

from torchvision.models import resnet18  # isort: skip

Rows = list[tuple[str, str]]
Batches = Iterable[Any]
EPOCHS = 3
"""Timed ones: the best counts, after one that warms up."""
SHARE = 0.95
"""Of the textbook's speed a job has at least."""
FAST = {"precision": "bfloat16", "channels_last": True, "deterministic": False}
PLAIN, NARROW_LAST = "float32", "bfloat16, channels_last"
"""The textbook's arithmetics: its loop, and that with autocast and with images and kernels as NHWC."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is trained: a model on made-up images, and the plans of jobs, each with the textbook's loop that it is compared with."""

    name: str
    image: tuple[int, int, int]
    samples: int
    batch: int
    model: dict[str, Any]
    make: Callable[[], nn.Module]
    plans: dict[str, tuple[dict[str, Any], str]]

    def body(self, epochs: int) -> dict[str, Any]:
        """The job."""
        return {
            "seed": 1,
            "dataset": {"type": "FakeData", "size": self.samples, "image_size": list(self.image), "num_classes": 10},
            "dataloader": {"batch_size": self.batch},
            "model": self.model,
            "loss": "CrossEntropyLoss",
            "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9},
            "epochs": epochs,
        }


def _small() -> nn.Module:
    """The net that tutorials train on MNIST."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10)
    )  # fmt: skip


SMALL_LAYERS: list[Any] = [
    {"type": "Conv2d", "out_channels": 32, "kernel_size": 3},
    "ReLU",
    {"type": "Conv2d", "out_channels": 64, "kernel_size": 3},
    "ReLU",
    {"type": "MaxPool2d", "kernel_size": 2},
    "Flatten",
    {"type": "Linear", "out_features": 128},
    "ReLU",
    {"type": "Linear", "out_features": 10},
]
BENCHES = (
    Bench(
        name="resnet18",
        image=(3, 64, 64),
        samples=8192,
        batch=256,
        model={"type": "torchvision", "name": "resnet18"},
        make=lambda: resnet18(num_classes=10),
        plans={
            "float32": ({}, PLAIN),
            "float32, not deterministic": ({"deterministic": False}, PLAIN),
            NARROW_LAST: (FAST, NARROW_LAST),
            "auto": ({"precision": "auto", "deterministic": False}, PLAIN),
            f"{NARROW_LAST}, compile": (FAST | {"compile": True}, NARROW_LAST),
            f"{NARROW_LAST}, compile: reduce-overhead": (FAST | {"compile": "reduce-overhead"}, NARROW_LAST),
        },
    ),
    Bench(
        name="a small CNN on 28 x 28",
        image=(1, 28, 28),
        samples=16384,
        batch=64,
        model={"type": "Sequential", "layers": SMALL_LAYERS},
        make=_small,
        plans={
            "float32": ({}, PLAIN),
            "float32, not deterministic": ({"deterministic": False}, PLAIN),
            "float32, fused, compile: reduce-overhead": ({"deterministic": False, "fused": True, "compile": "reduce-overhead"}, PLAIN),
        },
    ),
)


def table(ground: Ground, *, holds: Callable[[bool, str], None]) -> Rows:
    """Each bench, the data alone first. A job that is slower than the textbook's loop of the same arithmetic does not hold."""
    rows: Rows = []
    slow: list[str] = []
    for bench in BENCHES:
        rows += _of_bench(ground, _rehearsed(bench) if ground.rehearsed else bench, slow)
    holds(ground.rehearsed or not slow, f"slower than the textbook's loop: {'; '.join(slow)}; all of it: {rows}")
    return rows


def _rehearsed(bench: Bench) -> Bench:
    """Little of it: what is rehearsed is the program."""
    side = min(bench.image[1], 32)
    kept = {name: each for name, each in bench.plans.items() if "precision" not in each[0] and "compile" not in each[0]}
    return replace(bench, samples=64, batch=32, image=(bench.image[0], side, side), plans=kept)


def _of_bench(ground: Ground, bench: Bench, slow: list[str]) -> Rows:
    device = torch.device("cpu" if ground.rehearsed else "cuda")
    theirs = _loader(bench, device)
    ours = _ours(ground, bench, device)
    fastest = {name: _rate(bench, batches, device) for name, batches in (("job", ours), ("textbook", theirs))}
    rows = [
        (f"{bench.name}: the data alone, textbook's DataLoader", f"{fastest['textbook']:,.0f} samples/s"),
        (f"{bench.name}: the data alone, a job's", f"{fastest['job']:,.0f} samples/s, {fastest['job'] / fastest['textbook']:.1f} x"),
    ]
    loops = {name: _textbook(bench, theirs, device, name) for name in dict.fromkeys(loop for _, loop in bench.plans.values())}
    rows += [
        (f"{bench.name}: textbook's loop, {name}, images decoded and in memory", f"{rate:,.0f} samples/s") for name, rate in loops.items()
    ]
    for row in rows:
        print("   ", *row, file=sys.stderr, flush=True)
    epochs = 1 if ground.rehearsed else EPOCHS + 1
    for name, (how, loop) in bench.plans.items():
        done = ground.train(bench.body(epochs) | {"training": how}).rows
        rate = max(row.samples_per_second for row in done[-EPOCHS:])
        rows.append((f"{bench.name}: a job, {name}", f"{rate:,.0f} samples/s, {rate / loops[loop]:.2f} x the textbook's {loop}"))
        print("   ", *rows[-1], file=sys.stderr, flush=True)
        # deterministic operators may be slower than the textbook's, and what a compiler without graphs brings is torch's
        if not how.get("deterministic", True) and how.get("compile") is not True and rate < SHARE * loops[loop]:
            slow.append(f"{bench.name}, {name}: {rate:,.0f} to {loops[loop]:,.0f}")
    return rows


def _loader(bench: Bench, device: torch.device) -> Callable[[], Batches]:
    """The textbook's: images decoded and transformed before, pinned on their way."""
    torch.manual_seed(1)
    data = TensorDataset(torch.rand(bench.samples, *bench.image), torch.randint(10, (bench.samples,)))
    loader = DataLoader(data, batch_size=bench.batch, shuffle=True, pin_memory=device.type == "cuda")
    return lambda: ((inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)) for inputs, labels in loader)


def _ours(ground: Ground, bench: Bench, device: torch.device) -> Callable[[], Batches]:
    """A job's, from bytes."""
    spec = resolved(bench.body(1) | {"resources": {"threads": 1}})
    split, residents = load_splits(spec, datasets_dir=Path(ground.folder), cache=None).train, Residents()
    return lambda: training_batches(
        split, spec, grouped(torch.randperm(len(split)), size=bench.batch), epoch=0, device=device, residents=residents
    )


def _rate(bench: Bench, batches: Callable[[], Batches], device: torch.device) -> float:
    """Samples a second of the fastest of some rounds, after one that warms up."""
    return _fastest(bench, device, lambda: [None for _ in batches()])


def _textbook(bench: Bench, batches: Callable[[], Batches], device: torch.device, arithmetic: str) -> float:
    """Samples a second of the loop that tutorials have."""
    torch.manual_seed(1)
    model, loss_fn = bench.make().to(device), nn.CrossEntropyLoss()
    narrow, layout = arithmetic != PLAIN, torch.channels_last if arithmetic == NARROW_LAST else torch.contiguous_format
    model = model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def epoch() -> None:
        for inputs, targets in batches():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=narrow):
                loss = loss_fn(model(inputs.to(memory_format=layout)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return _fastest(bench, device, epoch)


def _fastest(bench: Bench, device: torch.device, epoch: Callable[[], Any]) -> float:
    best = 0.0
    for _ in range(EPOCHS + 1):
        started = time.perf_counter()
        epoch()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, bench.samples / (time.perf_counter() - started))
    return best

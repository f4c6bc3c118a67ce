"""Arm 4: a small CNN on colour images of 32x32 with `precision: auto`, beside the textbook's loop in float32: speed, and accuracy."""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from tests.bench.arms.sharing import CNN
from tests.bench.arms.training import of_job
from tests.bench.colour import TRAIN, images
from tests.bench.ground import service, trained
from tests.bench.harness import Result, blocks, compared, measured, told
from tests.bench.rivals import rival
from tests.checking import resolved
from worker.training.data import Batches, EpochOrder, grouped
from worker.training.loop import train
from worker.training.preparing import prepare

THREADS = os.cpu_count() or 1
SPEC: dict[str, Any] = CNN | {
    "dataset": CNN["dataset"] | {"size": TRAIN},
    "training": {"precision": "auto"},
    "resources": {"threads": THREADS},
}
"""On images that are drawn: they take as long as real ones, and are always there."""
SEEDS = 5
EPOCHS = 5
"""Of the trainings whose accuracy is compared, with a learning rate that comes down: at a constant one seeds differ by ten points."""
COMES_DOWN = {"lr_scheduler": {"type": "OneCycleLR", "max_lr": 0.05}}


def measure() -> list[Result]:
    """Samples a second, and the distance in accuracy."""
    seeds = count(1)
    with service(threads=THREADS) as stack, rival("tests.bench.colour", "--threads", str(THREADS)) as loop:
        plan = next(
            event for event in stack.client.past_events(trained(stack.client, SPEC | {"epochs": 1})["id"]) if event["type"] == "plan"
        )
        told(f"    {plan['message']}")
        taken = blocks(lambda: of_job(stack, SPEC | {"seed": next(seeds)}, epochs=1), lambda: TRAIN / loop.epoch())
    chosen = plan["data"]["training"]
    what = f"CNN on 32x32 colour, batch 128, samples/s: job with precision: auto (took {chosen['precision']}) / float32 textbook loop"
    speed = compared(taken, arm="4", what=what, target=2.5, floor=1.7, detail={"threads": THREADS, "plan": plan["data"]})
    pairs = [(_accuracy(seed, chosen), _accuracy(seed, {})) for seed in range(SEEDS)]
    apart = [100 * (ours - theirs) for ours, theirs in pairs]
    told(f"    accuracies (auto, float32): {pairs}")
    error = statistics.stdev(apart) / SEEDS**0.5
    what = f"accuracy on {len(images()[1])} real images after {EPOCHS} epochs, {SEEDS} seeds: auto - float32 (standard error {error:.2f})"
    return [speed, measured(apart, arm="4", what=what, unit="points", target=-0.3)]


def _accuracy(seed: int, training: dict[str, Any]) -> float:
    """Of a training on real images: the share of test images that it recognises."""
    pictures, test = images()
    run = prepare(resolved(SPEC | COMES_DOWN | {"seed": seed, "epochs": EPOCHS, "training": training}), datasets_dir=Path())
    splits = replace(run.splits, train=pictures, test=test)
    run = replace(run, splits=splits, order=EpochOrder(len(pictures), seed=seed, shuffle=True))
    for _ in train(run):
        pass
    run.model.eval()
    right = 0
    with torch.inference_mode():
        for inputs, labels in Batches(test, run.spec, device=run.device).over(grouped(torch.arange(len(test)), size=500)):
            right += int((run.model(inputs).argmax(1) == labels).sum())
    return right / len(test)

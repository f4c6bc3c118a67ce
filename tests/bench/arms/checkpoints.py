"""Arm 9: what checkpoints take from training, through API, queue, worker and storage, with as many threads as there are cores.

In the first two rows one job saves after every other epoch. An epoch's span lies between two epochs' events, so it holds all of it: taking the
snapshot, training on while it is written, hashed and uploaded, and removing the checkpoint it replaces. Spans that begin with a snapshot take
turns with spans that begin with none; a block is one of these with its two neighbours, and the row is the plain span over the neighbours' mean.
The last rows compare whole jobs, one that saves after each epoch and one that never does, for there a checkpoint may take longer than an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from os import cpu_count
from typing import Any

from service.client.sdk import Client
from tests.bench.ground import service, trained
from tests.bench.harness import BLOCKS, Result, blocks, compared, told

NEVER = 10_000
"""Epochs between checkpoints in a job that has none."""
SETTLING = 4
"""Epochs at a job's start that are not looked at."""
WHOLE_JOBS = {"epochs": 8, "blocks": 3}


def measure() -> list[Result]:
    """The two ratios, and what becomes of a large model with short epochs."""
    limits = {"target": 0.99, "floor": 0.97}
    with service(threads=cpu_count() or 1) as stack:
        return [
            _alternating(stack.client, _sized(stack.client, small(), 1.0), count=3 * BLOCKS, what="0.4 MB model, 1 s epochs", **limits),
            _alternating(stack.client, _sized(stack.client, large(), 10.0), what="45 MB model, 10 s epochs", **limits),
            *_whole_jobs(stack.client, _sized(stack.client, large(), 1.0)),
        ]


def small() -> dict[str, Any]:
    """101,770 weights."""
    return _mlp([128], batch_size=8)


def large() -> dict[str, Any]:
    """11,388,010 weights."""
    return _mlp([3000, 3000], batch_size=64)


def _mlp(widths: Sequence[int], *, batch_size: int) -> dict[str, Any]:
    hidden = [layer for width in widths for layer in ({"type": "Linear", "out_features": width}, "ReLU")]
    return {
        "dataset": {"type": "MNIST", "limit": 1000},
        "dataloader": {"batch_size": batch_size, "eval_batch_size": 1000},
        "model": {"type": "Sequential", "layers": ["Flatten", *hidden, {"type": "Linear", "out_features": 10}]},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.01},
        "epochs": 1,
    }


def _sized(client: Client, body: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The same on so many samples that an epoch takes about so long on this machine; all of MNIST at most."""
    took = min(spans(client, _run(client, body | {"epochs": SETTLING + 4}, saved_every=NEVER))[SETTLING:])
    limit = min(60_000, int(body["dataset"]["limit"] * seconds / took))
    return body | {"dataset": body["dataset"] | {"limit": limit}}


def _run(client: Client, body: dict[str, Any], *, saved_every: int) -> str:
    job: str = trained(client, body | {"checkpoint": {"every_n_epochs": saved_every}})["id"]
    return job


def spans(client: Client, job: str) -> list[float]:
    """Seconds from each epoch's event to the next one's: the first is the second epoch's."""
    ends = [datetime.fromisoformat(event["at"]).timestamp() for event in client.past_events(job) if event["type"] == "epoch"]
    return [after - before for before, after in pairwise(ends)]


def _alternating(client: Client, body: dict[str, Any], *, count: int = BLOCKS, **row: Any) -> Result:
    """Spans after even epochs have a checkpoint in them, spans after odd ones have none."""
    epochs = SETTLING + 2 * count + 1
    job = _run(client, body | {"epochs": epochs}, saved_every=2)
    taken = spans(client, job)[SETTLING - 1 :]  # from the end of epoch 4 on, which saves
    told("    " + ", ".join(f"{each:.3f}" for each in taken))
    pairs = [(taken[at], (taken[at - 1] + taken[at + 1]) / 2) for at in range(1, len(taken) - 1, 2)]
    detail = {"samples": body["dataset"]["limit"], "committed": _committed(client, job), "taken": (epochs - 1) // 2}
    return compared(pairs, arm="9", **row | {"what": f"training beside a checkpoint / none: {row['what']}", "detail": detail})


def _whole_jobs(client: Client, body: dict[str, Any]) -> list[Result]:
    """What a checkpoint after each epoch of 1 s makes of 45 MB: the ratio, and the share of them that reached storage."""
    long, shares = body | {"epochs": WHOLE_JOBS["epochs"]}, []

    def never() -> float:
        return sum(spans(client, _run(client, long, saved_every=NEVER)))

    def each() -> float:
        job = _run(client, long, saved_every=1)
        shares.append(_committed(client, job) / (long["epochs"] - 1))
        return sum(spans(client, job))

    ratio = compared(blocks(never, each, count=WHOLE_JOBS["blocks"]), arm="9", what="the same: 45 MB model, 1 s epochs, whole jobs")
    share = Result(
        arm="9", what="the share of those committed", value=sum(shares) / len(shares), low=min(shares), high=max(shares), unit=""
    )
    return [ratio, share]


def _committed(client: Client, job: str) -> int:
    return sum(event["type"] == "checkpoint" for event in client.past_events(job))

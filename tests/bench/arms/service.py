"""Arm 8: how many jobs a second are taken in, beside the same server with nothing to do."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import redis

from service.local import free_port, wait_for_port
from tests.bench.harness import Result, blocks, compared, measured, told
from tests.bench.load import Taken, post
from tests.e2e.stack import ROOT, Stack, running_stack
from tests.servers import process, running_s3, running_valkey

REQUESTS = 600
"""Of one run of an arm."""
NEVER_SEEN = 40


def small_net(seed: int) -> dict[str, Any]:
    """A job of a sweep: another seed and another name is all that is new."""
    layers = [
        "Flatten",
        {"type": "Linear", "out_features": 128},
        "ReLU",
        {"type": "Dropout", "p": 0.2},
        {"type": "Linear", "out_features": 10},
    ]
    return {
        "name": f"sweep-{seed}",
        "seed": seed,
        "dataset": {"type": "Digits", "validation_split": 0.1},
        "dataloader": {"batch_size": 64},
        "model": {"type": "Sequential", "layers": layers},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9},
        "epochs": 5,
        "checkpoint": {"monitor": "val_accuracy", "mode": "max"},
    }


def another_net(width: int) -> dict[str, Any]:
    """An architecture that nobody has sent before."""
    body = small_net(width)
    body["model"]["layers"][1] = {"type": "Linear", "out_features": 16 + width}
    return body


@dataclass(frozen=True)
class Server:
    """Who takes POSTs, and by which process."""

    port: int
    pid: int


@contextmanager
def trainyard() -> Iterator[tuple[Server, Stack, str]]:
    """The service with no worker: what comes in waits."""
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name) / "v") as url, running_s3(Path(name) / "s") as s3:
        folder = Path(name) / "api"
        folder.mkdir()
        with running_stack(folder, redis_url=url, s3=s3.environment(), TRAINYARD_SWEEP_SECONDS="5", TRAINYARD_LEASE_SECONDS="60") as stack:
            yield Server(int(stack.environment["TRAINYARD_PORT"]), stack.api_pid), stack, url


@contextmanager
def empty_api() -> Iterator[Server]:
    """FastAPI with an empty endpoint."""
    port = free_port()
    command = [sys.executable, str(ROOT / "tests" / "bench" / "empty_api.py"), str(port)]
    with tempfile.TemporaryDirectory() as name, process(command, cwd=Path(name)) as child:
        wait_for_port(port, seconds=30, alive=lambda: child.poll() is None)
        yield Server(port, child.pid)


def measure() -> list[Result]:
    """Jobs a second / empty POSTs a second; the same of processor time; and architectures that have to be checked first."""
    numbers = count(1)
    with trainyard() as (ours, stack, url), empty_api() as empty, redis.Redis.from_url(url) as store:
        stack.client.validate(small_net(0))  # the checking child starts

        def run(server: Server) -> Taken:
            bodies = [json.dumps(small_net(next(numbers))).encode() for _ in range(REQUESTS)]
            taken = post(server.port, "/v1/jobs", bodies, pid=server.pid)
            told(f"      {taken.per_second:.0f}/s, {taken.processor / REQUESTS * 1e6:.0f} us of processor each")
            return taken

        all_taken: dict[Server, list[Taken]] = {ours: [], empty: []}

        def rate(server: Server) -> float:
            all_taken[server].append(taken := run(server))
            return taken.per_second

        row = compared(
            blocks(lambda: rate(ours), lambda: rate(empty)),
            arm="8",
            what="POST /v1/jobs per second / empty FastAPI POST",
            target=0.6,
            floor=0.4,
        )
        each = {server: [taken.processor / taken.requests for taken in runs[2:]] for server, runs in all_taken.items()}
        processor = measured(
            [theirs / ours for theirs, ours in zip(each[empty], each[ours], strict=True)],
            arm="8",
            what="the same, by processor time of the API process",
        )
        told(f"    {store.zcard('ty:jobs:default')} jobs are in the store")
        fresh = [_fresh(ours, numbers) for _ in range(3)]
        return [row, processor, measured(fresh, arm="8", what="never-seen architectures a second", unit="/s")]


def _fresh(server: Server, numbers: Iterator[int]) -> float:
    bodies = [json.dumps(another_net(next(numbers))).encode() for _ in range(NEVER_SEEN)]
    return post(server.port, "/v1/jobs", bodies, pid=server.pid, connections=1).per_second

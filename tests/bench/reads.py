"""500 mixed reads a second while two workers train: `python -m tests.bench.reads [--seconds 300] [--rate 500]`.

Each request has a moment at which it is due, and its time counts from there: a service that falls behind cannot slow the clock down.
This exits 1 where a request failed, one of a hundred took longer than 150 ms, memory grew, or the jobs that trained meanwhile did not end with
the weights of the same jobs trained undisturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2

from tests.bench.load import processor_seconds
from tests.e2e.stack import Stack, running_stack
from tests.servers import running_s3, running_valkey

LINES = 32
WANTED_P99 = 0.150
"""Seconds, on two cores that the load's own process shares."""
FLAT = 64 * 2**20
"""Bytes that the API's memory may grow by: half of it is the room of answers that it remembers."""


def spec(seed: int, epochs: int) -> dict[str, Any]:
    """A small CNN; an epoch takes a fraction of a second."""
    layers = [{"type": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1}, "ReLU", "Flatten", {"type": "Dropout", "p": 0.2}]
    return {
        "seed": seed,
        "dataset": {"type": "Digits", "validation_split": 0.1},
        "dataloader": {"batch_size": 32},
        "model": {"type": "Sequential", "layers": [*layers, {"type": "Linear", "out_features": 10}]},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "Adam", "lr": 0.001},
        "epochs": epochs,
    }


@dataclass(frozen=True)
class Read:
    """One kind of request, and how often of a hundred it is made."""

    kind: str
    share: int
    path: str
    headers: str = ""
    statuses: tuple[int, ...] = (200,)

    @cached_property
    def request(self) -> bytes:
        """As it is sent."""
        return f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n{self.headers}\r\n".encode()


def mix(running: list[str], ended: str, etag: str) -> list[Read]:
    """What scripts and pages ask for while they watch."""
    first, second = running
    return [
        Read("job", 25, f"/v1/jobs/{first}"),
        Read("job unchanged", 20, f"/v1/jobs/{ended}", f"If-None-Match: {etag}\r\n", (304,)),
        Read("list", 8, "/v1/jobs?limit=20"),
        Read("metrics", 12, f"/v1/jobs/{second}/metrics"),
        Read("events", 8, f"/v1/jobs/{first}/events?after=0&limit=50"),
        Read("logs", 6, f"/v1/jobs/{second}/logs?tail=50"),
        Read("artifacts", 4, f"/v1/jobs/{ended}/artifacts"),
        Read("part of a file", 4, f"/v1/jobs/{ended}/artifacts/model.safetensors", "Range: bytes=0-1023\r\n", (206,)),
        Read("queue", 4, "/v1/queue"),
        Read("workers", 3, "/v1/workers"),
        Read("page's part", 4, f"/ui/jobs/{first}/head"),
        Read("alive", 2, "/healthz"),
    ]


@dataclass
class Line:
    """A connection, what is under way on it, and what came of the answer."""

    socket: socket.socket
    read: Read | None = None
    due: float = 0.0
    seen: bytearray = field(default_factory=bytearray)

    def status(self) -> int | None:
        """The status of the answer, once all of it is there; 0 where the other side hung up."""
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionError:
            return 0
        if not data:
            return 0
        self.seen += data
        end = self.seen.find(b"\r\n\r\n")
        if end < 0:
            return None
        status = int(self.seen[9:12])
        at = self.seen.find(b"content-length: ", 0, end)  # the service's headers are in small letters
        length = int(self.seen[at + 16 : self.seen.find(b"\r\n", at)]) if at >= 0 and status != 304 else 0
        if len(self.seen) < end + 4 + length:
            return None
        self.seen.clear()
        return status


@dataclass
class Measured:
    """How it went."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: Counter[str] = field(default_factory=Counter)
    wall: float = 0.0
    processor: float = 0.0
    """Of the load's own process, in seconds."""

    def all(self) -> list[float]:
        """Of every kind."""
        return [each for found in self.seconds.values() for each in found]


def load(port: int, reads: list[Read], *, rate: float, seconds: float, rng: random.Random) -> Measured:
    """So many requests a second, each due at its own moment, in the order of their moments."""
    found, waiting, own = Measured(), deque[tuple[float, Read]](), time.process_time()
    chosen = rng.choices(reads, [read.share for read in reads], k=int(rate * seconds))
    with selectors.DefaultSelector() as ready, ExitStack() as opened:
        idle = deque(_line(port, ready, opened) for _ in range(LINES))
        started, sent, done = time.perf_counter(), 0, 0
        while done < len(chosen):
            now = time.perf_counter()
            while sent < len(chosen) and started + sent / rate <= now:
                waiting.append((started + sent / rate, chosen[sent]))
                sent += 1
            while waiting and idle:
                line = idle.popleft()
                line.due, line.read = waiting.popleft()
                line.socket.sendall(line.read.request)
            pause = max(0.0, started + sent / rate - time.perf_counter()) if sent < len(chosen) else 30.0
            for key, _ in ready.select(pause if idle or sent == len(chosen) else 30.0):
                line = key.data
                status = line.status()
                if status is None or line.read is None:
                    continue
                done += 1
                found.seconds[line.read.kind].append(time.perf_counter() - line.due)
                if status not in line.read.statuses:
                    found.wrong[f"{line.read.kind}: {status}"] += 1
                if not status:
                    ready.unregister(line.socket)
                    line = _line(port, ready, opened)
                line.read = None
                idle.append(line)
        found.wall = time.perf_counter() - started
    found.processor = time.process_time() - own
    return found


def _line(port: int, ready: selectors.BaseSelector, opened: ExitStack) -> Line:
    line = Line(opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)))
    line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ready.register(line.socket, selectors.EVENT_READ, line)
    return line


def resident(pid: int) -> int:
    """Bytes of memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def p99(seconds: list[float]) -> float:
    """What one of a hundred takes longer than."""
    return statistics.quantiles(seconds, n=100)[98]


@contextmanager
def house() -> Iterator[Stack]:
    """An API with two workers, on stores of their own."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "stack").mkdir()
        url = stack.enter_context(running_valkey(folder / "valkey"))
        s3 = stack.enter_context(running_s3(folder / "s3"))
        running = stack.enter_context(running_stack(folder / "stack", redis_url=url, s3=s3.environment(), TRAINYARD_LEASE_SECONDS="60"))
        for _ in range(2):
            running.start_worker()
        yield running


def weights(stack: Stack, jobs: list[str]) -> list[str]:
    """The digests of what they learnt."""
    ended = [stack.client.wait(job, timeout=3600) for job in jobs]
    assert [job["state"] for job in ended] == ["succeeded"] * len(jobs), [job["error"] for job in ended]
    return [next(file["sha256"] for file in stack.client.artifacts(job) if file["path"] == "model.safetensors") for job in jobs]


def epochs_for(stack: Stack, seconds: float) -> int:
    """How many epochs take somewhat longer than that, even undisturbed."""
    job = stack.client.wait(stack.client.submit(spec(0, 20))["id"], timeout=300)
    told = [datetime.fromisoformat(event["at"]) for event in stack.client.past_events(job["id"]) if event["type"] == "epoch"]
    each = (told[-1] - told[0]).total_seconds() / (len(told) - 1)
    return max(20, int(1.1 * (seconds + 10) / each))


def measure(stack: Stack, *, seconds: float, rate: float) -> dict[str, Any]:
    """Train undisturbed, then the same under load."""
    client, port = stack.client, int(stack.environment["TRAINYARD_PORT"])
    epochs = epochs_for(stack, seconds)
    quiet = [client.submit(spec(seed, epochs))["id"] for seed in (1, 2)]
    expected = weights(stack, quiet)
    etag = httpx2.get(f"{client.url}/v1/jobs/{quiet[0]}", trust_env=False).headers["etag"]
    disturbed = [client.submit(spec(seed, epochs))["id"] for seed in (1, 2)]
    for job in disturbed:
        stack.until_event(job, "epoch")
    reads = mix(disturbed, quiet[0], etag)
    load(port, reads, rate=rate, seconds=min(5, seconds), rng=random.Random(0))  # warm
    memory, processor = resident(stack.api_pid), processor_seconds(stack.api_pid)
    found = load(port, reads, rate=rate, seconds=seconds, rng=random.Random(1))
    count, busy = len(found.all()), sum(client.get(job)["state"] == "running" for job in disturbed)
    told: dict[str, Any] = {
        "requests": count,
        "per_second": round(count / found.wall, 1),
        "wrong": dict(found.wrong),
        "p50_ms": round(1000 * statistics.median(found.all()), 1),
        "p99_ms": round(1000 * p99(found.all()), 1),
        "p50_and_p99_ms_by_kind": {
            kind: [round(1000 * statistics.median(each), 1), round(1000 * p99(each), 1)]
            for kind, each in sorted(found.seconds.items())
            if len(each) > 1
        },
        "api_cpu_ms_per_request": round(1000 * (processor_seconds(stack.api_pid) - processor) / count, 3),
        "load_cpu_ms_per_request": round(1000 * found.processor / count, 3),
        "api_memory_mib": [round(memory / 2**20), round(resident(stack.api_pid) / 2**20)],
        "load_average": os.getloadavg()[0],
        "still_training_at_the_end": busy,
    }
    print(json.dumps(told), file=sys.stderr, flush=True)  # the jobs take some minutes more
    learnt = weights(stack, disturbed)
    return told | {"weights": learnt, "undisturbed": expected, "equal_weights": learnt == expected}


def broken(told: Mapping[str, Any]) -> list[str]:
    """What of the promise does not hold."""
    before, after = told["api_memory_mib"]
    kept = {
        "a request failed": not told["wrong"],
        f"one of a hundred took longer than {1000 * WANTED_P99:g} ms": told["p99_ms"] <= 1000 * WANTED_P99,
        "memory grew": (after - before) * 2**20 <= FLAT,
        "the jobs had ended before the load did": told["still_training_at_the_end"] == 2,
        "the jobs learnt something else": told["equal_weights"],
    }
    return [what for what, holds in kept.items() if not holds]


def main() -> int:
    """Measure, print, and say by the exit code whether it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--rate", type=float, default=500)
    asked = parser.parse_args()
    with house() as stack:
        told = measure(stack, seconds=asked.seconds, rate=asked.rate)
    faults = broken(told)
    print(json.dumps(told | {"broken": faults}, indent=1))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

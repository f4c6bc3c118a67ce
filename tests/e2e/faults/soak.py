"""A long job in short time: `python -m tests.e2e.faults.soak --minutes 6`.

A lease of one second, so that a minute stands for an hour of leases of sixty; a broker that delivers again after two. One long job on
one of two workers, small jobs beside it; at the end: no second delivery, no second run, no memory that grew.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

from tests.e2e.faults.house import House, moments, running_house
from tests.e2e.stack import until

LEASE_SECONDS, EVERY_SECONDS = 1, 3
SETTINGS = {
    "TRAINYARD_LEASE_SECONDS": str(LEASE_SECONDS),
    "TRAINYARD_SWEEP_SECONDS": "0.3",
    "TRAINYARD_STALL_SECONDS": "20",
    "TRAINYARD_DEAF_SECONDS": "10",
    "TRAINYARD_PREFLIGHT_CHILDREN": "1",
}
UNACKED = ("ty-bell:unacked", "ty-bell:unacked_index")
_LAYERS = ["Flatten", {"type": "Linear", "out_features": 64}, "ReLU", {"type": "Dropout", "p": 0.2}, {"type": "Linear", "out_features": 10}]
SMALL: dict[str, Any] = {
    "dataset": {"type": "Digits", "limit": 100},
    "model": {"type": "Sequential", "layers": _LAYERS},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.01},
    "epochs": 1,
}
LONG = SMALL | {"name": "long", "dataset": "Digits", "dataloader": {"batch_size": 1}, "epochs": 100_000}


@dataclass
class Soaked:
    """What was seen. Sizes in bytes, a value a second."""

    seconds: float
    attempt: int = 0
    claims: int = 0
    state: str = ""
    leases: float = 0
    small: list[str] = field(default_factory=list)
    """The ends of the small jobs, with the attempts that each took."""
    unacked: int = 0
    sizes: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def growth(self, name: str) -> float:
        """From the second fifth of the time to the last, by the median of each."""
        values = self.sizes[name]
        fifth = max(1, len(values) // 5)
        return median(values[-fifth:]) / median(values[fifth : 2 * fifth]) - 1

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {values[-1] / 2**20:.1f} MiB ({self.growth(name):+.1%})" for name, values in self.sizes.items())
        good = self.small.count("succeeded 1")
        return (
            f"{self.seconds:.0f} s, {self.leases:.0f} leases: long job {self.state}, attempt {self.attempt}, {self.claims} claim(s); "
            f"{good} of {len(self.small)} small jobs done at once; {self.unacked} message(s) unacknowledged; {sizes}"
        )


def soak(folder: Path, *, seconds: float) -> Soaked:
    """Run it, and tell."""
    with running_house(folder, **SETTINGS) as house:
        for name in ("one", "two"):
            worker = house.worker(name)
            worker.command[worker.command.index("worker.main")] = "tests.e2e.faults.impatient_worker"
            worker.start()
        long = house.client.submit(LONG)["id"]
        house.until_event(long, "epoch")
        soaked = Soaked(seconds=seconds)
        small = _watch(house, soaked, until=time.monotonic() + seconds)
        job = house.client.get(long)
        house.client.cancel(long)
        soaked.attempt, soaked.state = job["attempt"], house.client.wait(long, timeout=30)["state"]
        soaked.small = [_end(house.client.wait(id, timeout=60)) for id in small]
        tokens = [moment["token"] for moment in moments(house.redis, long) if moment.get("state") == "running"]
        soaked.claims, soaked.leases = len(set(tokens)), seconds / LEASE_SECONDS
        with suppress(AssertionError):  # a worker's ring to itself may be on its way just now
            until(lambda: house.redis.exists(*UNACKED) == 0, seconds=10)
        soaked.unacked = house.redis.exists(*UNACKED)
    return soaked


def _watch(house: House, soaked: Soaked, *, until: float) -> Sequence[str]:
    """A size a second, a small job every few; the ids of these."""
    parts: Mapping[str, int] = {"api": house.api.process.pid} | {name: part.process.pid for name, part in house.workers.items()}
    small, turn, pause = [], 0, Event()
    while time.monotonic() < until:
        if turn % EVERY_SECONDS == 0:
            small.append(house.client.submit(SMALL)["id"])
        for name, pid in parts.items():
            soaked.sizes[name].append(_resident(pid))
        soaked.sizes["redis"].append(int(house.redis.info("memory")["used_memory"]))
        turn += 1
        pause.wait(1)
    return small


def _end(job: Mapping[str, Any]) -> str:
    """How it ended, after so many attempts, and why there was more than one."""
    reasons = [step["reason"] for step in job["transitions"] if step["reason"]]
    return " ".join([job["state"], str(job["attempt"]), *reasons])


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def main() -> None:
    """Print one line; exit code 1 where something was done twice or grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=6)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="trainyard-soak-") as folder, suppress(KeyboardInterrupt):
        soaked = soak(Path(folder), seconds=60 * minutes)
        print(soaked)
        grown = [name for name in soaked.sizes if name != "redis" and soaked.growth(name) >= 0.05]
        raise SystemExit(int(bool(grown) or (soaked.attempt, soaked.claims, soaked.unacked) != (1, 1, 0)))


if __name__ == "__main__":
    main()

"""Faults by lot: a seeded chance strikes processes and networks of a house, undoes what has an end, and starts again what died."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.e2e.faults.house import House, Part
from tests.e2e.faults.proxy import Answer, CutReply, Delay, FaultProxy, Freeze, LoseReply, Mode, Pass, Refuse

RESTART_SECONDS = 0.5
MANIFEST = r"^PUT \S+/manifest\.json"


class Storm:
    """Strikes when told to. Everything that it stopped goes on after a while; whatever is dead when `tend` is called is started again."""

    def __init__(self, house: House, *, seed: int, lease_seconds: float) -> None:
        self._house, self._chance, self._lease = house, random.Random(seed), lease_seconds
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._begun: dict[str, float] = {}
        self.strikes: Counter[str] = Counter()

    def strike(self) -> None:
        """One fault."""
        # processes die twice as often as networks fail
        fault = self._chance.choice([self._worker, self._worker, self._service, self._network])
        self.strikes[fault()] += 1

    def tend(self) -> None:
        """End what has lasted long enough, start again what died."""
        now = time.monotonic()
        due = [end for at, end in self._ends if at <= now]
        self._ends = [(at, end) for at, end in self._ends if at > now]
        for end in due:
            end()
        for part in (self._house.valkey, self._house.s3, self._house.api, *self._house.workers.values()):
            if not part.alive and now - self._begun.get(part.name, 0.0) > RESTART_SECONDS:
                self._begun[part.name] = now
                part.launch()

    def calm(self) -> None:
        """No more faults: everything goes on at once."""
        self._ends = [(0.0, end) for _, end in self._ends]
        self.tend()
        for proxy in (self._house.to_valkey, self._house.to_s3):
            proxy.set(Pass())

    def _later(self, seconds: float, end: Callable[[], None]) -> None:
        self._ends.append((time.monotonic() + seconds, end))

    def _worker(self) -> str:
        workers = [*self._house.workers.values()]
        worker = self._chance.choice([each for each in workers if each.trainers] or workers)  # who works has more to lose
        fault = self._chance.choice(["parent", "trainer", "zygote", "tree", "stop parent", "stop trainer", "drain"])
        match fault:
            case "parent":
                worker.signal(signal.SIGKILL)
            case "trainer":
                _send(worker.trainers, signal.SIGKILL)
            case "zygote":
                _send(worker.zygotes, signal.SIGKILL)
            case "tree":
                _send(worker.tree(), signal.SIGKILL)
            case "stop parent":
                self._stop([worker.process.pid])
            case "stop trainer":
                self._stop(worker.trainers)
            case "drain":
                worker.signal(signal.SIGTERM)
        return f"worker: {fault}"

    def _stop(self, pids: list[int]) -> None:
        _send(pids, signal.SIGSTOP)
        self._later(self._chance.uniform(1.0, 2.0) * self._lease, lambda: _send(pids, signal.SIGCONT))

    def _service(self) -> str:
        part: Part = self._chance.choice([self._house.api, self._house.valkey, self._house.s3])
        part.signal(signal.SIGKILL)
        return f"kill {part.name}"

    def _network(self) -> str:
        to_s3 = self._chance.random() < 0.5
        proxy: FaultProxy = self._house.to_s3 if to_s3 else self._house.to_valkey
        mode = self._chance.choice([*_modes(), *(_web_modes() if to_s3 else ())])
        if mode is None:
            proxy.cut()
        else:
            proxy.set(mode)
            self._later(self._chance.uniform(0.3, 1.7) * self._lease, lambda: proxy.set(Pass()))
        return f"{'s3' if to_s3 else 'valkey'}: {'Cut' if mode is None else type(mode).__name__}"


def _modes() -> list[Mode | None]:
    return [None, Delay(0.2), Freeze(), Refuse(), LoseReply(share=0.2), CutReply(after=7, share=0.2)]


def _web_modes() -> list[Mode]:
    return [Answer(status=500, share=0.4), Answer(status=503, share=0.4), LoseReply(request=MANIFEST)]


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

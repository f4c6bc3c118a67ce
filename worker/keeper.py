"""Always a living zygote, and for each GPU a trainer that waits, warmed up on it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from worker.crew import Crew
from worker.zygote import Trainer, Zygote, ZygoteGone

log = logging.getLogger("trainyard")


class ZygoteKeeper:
    """Hands out trainers. A dead zygote is replaced at the next fork, or by `check` before that.

    For each of `gpus` (the driver's names) one trainer is forked ahead and told to warm up on `device`: a CUDA context takes longer to make than
    all else before a first step. On the CPU a fork from the zygote is warm enough.
    """

    def __init__(self, *, log_path: Path | None, gpus: Sequence[str] = (), device: str = "cuda") -> None:
        self._log_path, self._gpus, self._device = log_path, gpus, device
        self._lock = threading.Lock()
        self._spares: dict[str, Trainer] = {}
        self._zygote = Zygote.start(log_path=log_path)
        self.refill()

    def spawn(self, gpus: Sequence[str] = ()) -> Trainer:
        """A trainer for these GPUs: the spare of the only one, where it lives, else new ones, as many as GPUs. Raises ZygoteGone."""
        with self._lock:
            spares = [self._spares.pop(gpu) for gpu in gpus if gpu in self._spares]
        if len(gpus) == 1 and spares and spares[0].lives:
            return spares[0]
        for spare in spares:  # a trainer of a crew sees all GPUs of its job: one that has seen one of them is of no use
            spare.kill()
            spare.close()
        zygote = self.check()
        if len(gpus) < 2:
            return zygote.spawn()
        spawned: list[Trainer] = []
        try:
            spawned.extend(zygote.spawn() for _ in gpus)
        except ZygoteGone:
            for each in spawned:
                each.close()
            raise
        return Crew(spawned)

    def refill(self) -> None:
        """Have as many spares as there should be, if they can be had. Best called once an attempt is under way: warming up takes a core."""
        try:
            zygote = self.check()
            with self._lock:
                self._spares = {gpu: spare for gpu, spare in self._spares.items() if spare.lives}
                for gpu in self._gpus:
                    if gpu not in self._spares:
                        self._spares[gpu] = spare = zygote.spawn()
                        spare.send({"command": "warm", "device": self._device, "gpus": [gpu]})
        except ZygoteGone as error:
            log.warning("no spare trainer: %s", error)  # `spawn` says so to who needs one

    def check(self) -> Zygote:
        """The zygote, started anew where it died."""
        with self._lock:
            if not self._zygote.alive:
                log.warning("the zygote died; starting another")
                self._zygote.close()
                self._zygote = Zygote.start(log_path=self._log_path)
            return self._zygote

    def close(self) -> None:
        """End it, and every trainer with it."""
        with self._lock:
            for spare in self._spares.values():
                spare.close()
            self._zygote.close()

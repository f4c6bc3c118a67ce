"""Always a living zygote, and as many trainers that wait, warmed up, as are asked for."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from worker.zygote import Trainer, Zygote, ZygoteGone

log = logging.getLogger("trainyard")


class ZygoteKeeper:
    """Hands out trainers. A dead zygote is replaced at the next fork, or by `check` before that.

    `spares` trainers are forked ahead and told to warm up on `device`: a CUDA context takes longer to make than all else before a first
    step. On the CPU a fork from the zygote is warm enough.
    """

    def __init__(self, *, log_path: Path | None, spares: int = 0, device: str = "cuda") -> None:
        self._log_path, self._count, self._device = log_path, spares, device
        self._lock = threading.Lock()
        self._spares: list[Trainer] = []
        self._zygote = Zygote.start(log_path=log_path)
        self.refill()

    def spawn(self) -> Trainer:
        """A spare, where one lives, or a new trainer of a living zygote. Raises ZygoteGone."""
        with self._lock:
            while self._spares:
                spare = self._spares.pop()
                if spare.lives:
                    return spare
                spare.close()
        return self.check().spawn()

    def refill(self) -> None:
        """Have as many spares as there should be, if they can be had. Best called once an attempt is under way: warming up takes a core."""
        try:
            zygote = self.check()
            with self._lock:
                self._spares = [spare for spare in self._spares if spare.lives]
                while len(self._spares) < self._count:
                    spare = zygote.spawn()
                    spare.send({"command": "warm", "device": self._device})
                    self._spares.append(spare)
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
            for spare in self._spares:
                spare.close()
            self._zygote.close()

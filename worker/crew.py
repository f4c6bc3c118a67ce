"""The trainers of a job on several GPUs, one for each, which look like a single Trainer to their supervisor."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

from worker.zygote import Trainer

STATUS_SECONDS = 10.0
WORD_SECONDS = 5.0
"""A trainer that lost another one sooner or later says so; so long that other one's own end is waited for, which is the reason."""
MAX_LINE = 16 * 1024**2


class Crew(Trainer):
    """The first trainer leads: its facts are the crew's. Of the others count failures alone, and an end without a word."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = trainers
        self._said: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self._ended = trainers[0]
        self.pid = trainers[0].pid
        self.facts = _Lines(self._lines())  # type: ignore[assignment]  # as much of a file as is read
        self._listeners = [threading.Thread(target=self._listen, args=each, daemon=True, name="crew") for each in enumerate(trainers)]
        for listener in self._listeners:
            listener.start()

    def send(self, command: dict[str, Any]) -> None:
        """A job goes to all, each told its place; what else is said to the leader."""
        if "spec" not in command:
            self._trainers[0].send(command)
            return
        for rank, trainer in enumerate(self._trainers):
            place = {"rank": rank, "count": len(self._trainers), "store": f"{command['directory']}/ranks"}
            trainer.send(command | {"place": place})

    @property
    def lives(self) -> bool:
        """Whether nobody has told of the end of one."""
        return all(each.lives for each in self._trainers)

    def wait(self, timeout: float) -> int | None:
        """The exit status of the one that ended first without a word, else the leader's; None when the time is up."""
        return self._ended.wait(timeout)

    def kill(self) -> None:
        """Kill all of them, and every process that they started."""
        for each in self._trainers:
            each.kill()

    def close(self) -> None:
        """Let the pipes go."""
        for each in self._trainers:
            each.wait(STATUS_SECONDS)  # whoever reads a pipe reads its end first
        for listener in self._listeners:
            listener.join(STATUS_SECONDS)
        for each in self._trainers:
            each.close()

    def _listen(self, rank: int, trainer: Trainer) -> None:
        for line in iter(lambda: trainer.facts.readline(MAX_LINE), b""):
            self._said.put((rank, line))
        self._said.put((rank, b""))

    def _lines(self) -> Iterator[bytes]:
        """What the supervisor reads, to the end of the leader, or of one that was lost."""
        follows, until = b"", None
        while True:
            try:
                rank, line = self._said.get(timeout=None if until is None else max(0.0, until - monotonic()))
            except queue.Empty:  # nobody says more
                yield follows
                return
            if line and _follows(line):
                follows, until = follows or line, until or monotonic() + WORD_SECONDS
            elif line:
                yield line
            elif rank == 0 and until is None:
                return
            elif rank and self._trainers[rank].wait(STATUS_SECONDS) != 0:
                self._ended = self._trainers[rank]
                return


def _follows(line: bytes) -> bool:
    """Whether it says that another trainer was lost before. Long lines are none of that, and are not read twice."""
    return len(line) < MAX_LINE and b'"follows":true' in line and json.loads(line)["fact"] == "Failed"


class _Lines:
    """Lines as a file has them."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines

    def readline(self, _limit: int = -1) -> bytes:
        """The next line, empty at the end."""
        return next(self._lines, b"")

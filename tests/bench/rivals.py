"""A training loop in a process of its own, an epoch at a time: `python -m tests.bench.loops NAME`, or another module, commanded by lines.

Each prints a line when it is ready, and one for each command: seconds of an epoch, or nothing of value for `save FILE`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.e2e.stack import ROOT, end


class Rival:
    """The process, seen from the benchmark."""

    def __init__(self, commands: IO[str], answers: IO[str]) -> None:
        self._commands, self._answers = commands, answers

    def ask(self, command: str) -> str:
        """The answer to one command. Raises AssertionError where the process is gone."""
        self._commands.write(command + "\n")
        self._commands.flush()
        return self.answer()

    def answer(self) -> str:
        """The next line."""
        line = self._answers.readline().strip()
        assert line, "the rival's process ended; its trace stands above"
        return line

    def epoch(self) -> float:
        """Train one epoch; its seconds."""
        return float(self.ask("epoch"))


@contextmanager
def rival(*arguments: str, python: str | Path = sys.executable) -> Iterator[Rival]:
    """A module with its arguments as a process, ready when this is entered."""
    command = [str(python), "-m", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018  # asked for above
        made = Rival(process.stdin, process.stdout)
        made.answer()
        yield made
    finally:
        end(process)


def serve(epoch, save) -> None:  # type: ignore[no-untyped-def]  # runs in rivals' interpreters too
    """Answer commands until the other side is gone: `epoch()` gives seconds, `save(path)` writes weights as safetensors."""
    print("ready", flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        print(epoch() if command == "epoch" else save(argument) or "saved", flush=True)

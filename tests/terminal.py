"""A real terminal: a process on a pseudo-terminal of a certain size, and what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyte

COLUMNS, ROWS = 80, 50


class Terminal:
    """What a process has drawn so far: `seen` is the screen and all that has scrolled off it."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process, self._descriptor = process, descriptor
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=10_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    def read(self, seconds: float) -> bool:
        """Draw what comes next; False once the process has closed its side."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:  # Linux says EIO when the other side is closed
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def until(self, true: Callable[[str], bool], *, seconds: float = 60) -> str:
        """Draw until the screen is as wanted; what it is then."""
        deadline = time.monotonic() + seconds
        while not true(self.seen):
            assert time.monotonic() < deadline, f"not seen in time:\n{self.seen}"
            assert self.read(0.2) or true(self.seen), f"it ended before:\n{self.seen}"
        return self.seen

    def ended(self, *, seconds: float = 60) -> int:
        """Draw to the end; the exit code."""
        deadline = time.monotonic() + seconds
        while self.read(0.2):
            assert time.monotonic() < deadline, f"it does not end:\n{self.seen}"
        return self.process.wait(10)

    def press(self, keys: bytes) -> None:
        """Type; a byte of 3 is Ctrl-C, which the terminal turns into a signal to the process in front."""
        os.write(self._descriptor, keys)

    @property
    def seen(self) -> str:
        """Every line, trailing spaces aside."""
        past = ["".join(row[at].data for at in range(COLUMNS)) for row in self._screen.history.top]
        return "\n".join(line.rstrip() for line in [*past, *self._screen.display]).rstrip()


@contextmanager
def in_terminal(command: list[str], *, environment: Mapping[str, str], cwd: Path) -> Iterator[Terminal]:
    """The command in front of a terminal of 80 columns; killed when the block is left."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    plain = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}

    def take_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=plain | {"TERM": "xterm-256color"},
        preexec_fn=take_the_terminal,  # noqa: PLW1509  # no threads hold locks that it needs
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)

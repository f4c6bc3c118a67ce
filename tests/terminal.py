"""A real terminal: a process on a pseudo-terminal of a certain size, and what a person would see on it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyte

COLUMNS, ROWS = 80, 50
ROOT = Path(__file__).parent.parent
IN_A_ROW = """
import json, os, sys
from service.client.cli import main
for arguments in json.loads(sys.argv[1]):
    print("\\n@@", json.dumps(arguments), flush=True)
    pid = os.fork()
    if pid == 0:
        sys.argv = ["trainyard", *arguments]
        main()
    print("\\n@@", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


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
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # a shell ignores it for what it runs in the background, and all below that inherits it
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


def in_a_row(runs: list[list[str]], *, folder: Path, **environment: str) -> list[tuple[list[str], int, list[str]]]:
    """Each run's arguments, exit code, and the lines that it wrote to a terminal, as it wrote them."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
    own |= {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder / "config"), **environment}
    with in_terminal([sys.executable, "-c", IN_A_ROW, json.dumps(runs)], environment=own, cwd=folder) as terminal:
        assert terminal.ended(seconds=240) == 0, terminal.seen
        raw = ESCAPES.sub(b"", terminal.raw).decode().replace("\r\n", "\n")
    parts = re.split(r"^@@ (.*)$", raw, flags=re.MULTILINE)[1:]
    found = [
        (json.loads(asked), int(code), text.strip("\n").split("\n"))
        for asked, text, code in zip(parts[::4], parts[1::4], parts[2::4], strict=True)
    ]
    assert [asked for asked, _, _ in found] == runs
    return found

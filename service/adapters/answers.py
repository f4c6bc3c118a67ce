"""The lines that a child process answers, read beside, and never more of them than anybody asked for: the child may run a user's code."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from contextlib import suppress

LONGEST = 64 * 2**20
UNREAD = 4
"""Lines that may wait; a child that says more is ended, so that this process's memory does not grow with what it says."""


class Answers:
    """What comes out of a process that was started with a pipe for its output."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        threading.Thread(target=self._listen, name="answers", daemon=True).start()

    def next(self, seconds: float) -> bytes:
        """The next line; nothing where the process ended, or said too much. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._lines or self._is_over, seconds):
                raise TimeoutError(f"took longer than {seconds:g} s")
            return self._lines.popleft() if self._lines else b""

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  # Popen was given PIPE
        with suppress(ValueError):  # closed while it is read: nobody waits any more
            while (line := self._process.stdout.readline(LONGEST)) and self._took(line):
                pass
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def _took(self, line: bytes) -> bool:
        with self._changed:
            if len(self._lines) == UNREAD:
                self._lines.clear()
                self._process.kill()
                return False
            self._lines.append(line)
            self._changed.notify()
            return True

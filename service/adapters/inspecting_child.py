"""The Inspector port: each upload is looked at by a child process, contained where this machine can, with limits on memory, time and disk in any case."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from service.adapters import bubblewrap
from service.datasets.ports import Look
from service.jobs.errors import Unavailable
from service.spec.content import Flaw, Inspected

MEMORY_BYTES = 8 * bubblewrap.GIB
UNPACKED_BYTES = 64 * bubblewrap.GIB
"""Of one file; of all together the archive reader keeps count."""
SECONDS = 3600
ANSWER_BYTES = 64 * 2**20
END_SECONDS = 15.0
"""How long a child may take to end once it has said all."""
DISK_FULL = 3
"""The child's exit code where the machine has no room."""


class InspectingChildren:
    """One child for each look; as often as `alive_seconds` it is told that the look goes on."""

    def __init__(self, *, alive_seconds: float) -> None:
        self._alive_seconds = alive_seconds

    @staticmethod
    def available() -> bool:
        """Whether the worker's code, and what it reads data with, are installed beside this process."""
        return all(importlib.util.find_spec(name) is not None for name in ("worker", "numpy", "PIL", "pyarrow"))

    def look(self, upload: Path, scratch: Path, *, alive: Callable[[], None]) -> Look:
        """What is in an upload, or all that is wrong with it. `scratch` is an empty folder; `alive` is called now and then. Raises Unavailable."""
        if not self.available():
            raise Unavailable("What reads data sets is not installed beside the API (pip install trainyard[worker]); it waits until it is.")
        limits = bubblewrap.Limits(memory_bytes=MEMORY_BYTES, file_bytes=UNPACKED_BYTES, cpu_seconds=SECONDS)
        if bubblewrap.unavailable() is None:
            child = bubblewrap.start(
                "inspect", limits=limits, readable=[upload], writable=scratch, arguments=[str(upload), str(scratch)], stdout=subprocess.PIPE
            )
        else:
            program = "import worker.contained as contained; contained.main()"
            command = [sys.executable, "-P", "-c", program, "inspect", limits.to_json(), str(upload), str(scratch)]
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env=bubblewrap.environment(os.environ),
            )
        answer = _answer(child, alive, every=self._alive_seconds)
        if child.returncode == DISK_FULL:
            raise Unavailable("The disk of the API's machine has no room to unpack an upload; it is looked at again later.")
        sheet = scratch / "sheet.png"
        try:
            found = Inspected.model_validate_json(answer)
        except ValidationError:
            detail = f"Looking at it ended the process that did (exit status {child.returncode}): it takes too much memory or time."
            found = Inspected(flaws=(Flaw(code="inspection_failed", detail=detail, suggestion="Send less, or plainer files."),))
        return Look(found=found, sheet=sheet.read_bytes() if sheet.is_file() and not sheet.is_symlink() else None)


def _answer(child: subprocess.Popen[bytes], alive: Callable[[], None], *, every: float) -> bytes:
    """What the child says until it ends; it is ended where it says, or takes, too much."""
    said: list[bytes] = []

    def listen() -> None:
        assert child.stdout is not None  # noqa: S101  # Popen was given PIPE
        with child.stdout as stream:
            said.append(stream.read(ANSWER_BYTES))

    listener = threading.Thread(target=listen, name="inspection", daemon=True)
    listener.start()
    until = time.monotonic() + SECONDS
    try:
        while listener.is_alive() and time.monotonic() < until:
            listener.join(every)
            alive()
        if not listener.is_alive():
            child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return b""  # it said all, or too much, and goes on
    finally:
        bubblewrap.kill(child)
        listener.join()
    return b"".join(said)

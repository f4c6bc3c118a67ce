"""A trainer for custom code: started cold inside bubblewrap, never forked from the zygote. Looks like a Trainer to its supervisor."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from service.adapters import bubblewrap
from worker.zygote import Trainer

WRITTEN_BYTES = 16 * 1024**3
"""What an attempt of custom code may have in its folder at a time."""


class NotContained(Exception):
    """Custom code cannot be contained on this machine; the text says why, and names the setting that runs it all the same."""


class ContainedTrainer(Trainer):
    """One trainer with the user's code in it, seen from its supervisor."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, facts: int) -> None:
        super().__init__(process.pid, os.fdopen(commands, "wb"), os.fdopen(facts, "rb"))
        self._process = process

    @classmethod
    def start(cls, folder: Path, readable: Sequence[Path]) -> ContainedTrainer:
        """Start one that writes in `folder` alone, and reads `readable`. It ends with the thread that calls this. Raises NotContained."""
        reason = bubblewrap.unavailable()
        if reason is not None:
            raise NotContained(
                f"Custom code cannot be contained on this worker, so it is not run. {reason} "
                "Or trust every user with this machine, and set TRAINYARD_UNCONTAINED_CODE=true."
            )
        command_read, command_write = os.pipe()
        fact_read, fact_write = os.pipe()
        try:
            process = bubblewrap.start(
                "train",
                limits=bubblewrap.Limits(),
                readable=[path for path in readable if path.exists()],
                writable=folder,
                pass_fds=[command_read, fact_write],
                arguments=[str(command_read), str(fact_write)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(command_read)
            os.close(fact_write)
        return cls(process, command_write, fact_read)

    def wait(self, timeout: float) -> int | None:
        """The exit status, or None when the time is up."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill it and everything that it started."""
        bubblewrap.kill(self._process)

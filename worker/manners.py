"""How a training shares its machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NICENESS = 5


def give_way() -> None:
    """Let answers come first where processors are short: they take a millisecond, the training minutes. It costs nothing where they are not."""
    os.nice(NICENESS)
    with suppress(OSError):  # sessions of their own share by group, where the kernel has those (sched(7), autogroup)
        Path("/proc/self/autogroup").write_text(str(NICENESS))

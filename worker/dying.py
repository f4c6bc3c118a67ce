"""A forked process that ends with the one that made it, whatever ends that, and keeps none of its pipes open."""

from __future__ import annotations

import os
import signal
import sys


def die_with_parent() -> None:
    """PR_SET_PDEATHSIG (prctl(2), Linux): the kernel kills this process when its parent's thread, the one that forked it, ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def let_go_of_all_but(*kept: int) -> None:
    """Close what was inherited: the supervisor waits for the end of a pipe, which has to end with the trainer."""
    below = 3
    for descriptor in sorted(kept):
        os.closerange(below, descriptor)
        below = descriptor + 1
    os.closerange(below, os.sysconf("SC_OPEN_MAX"))

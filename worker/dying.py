"""A process that ends with the one that made it, whatever ends that."""

from __future__ import annotations

import signal
import sys


def die_with_parent() -> None:
    """PR_SET_PDEATHSIG (prctl(2), Linux): the kernel kills this process when its parent's thread, the one that forked it, ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)

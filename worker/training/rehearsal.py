"""For tests: what is to run on GPUs is computed by the CPU, all else being as it would be there. No torch here."""

from __future__ import annotations

import os

REHEARSAL = "TRAINYARD_CPU_REHEARSAL"


def is_rehearsed() -> bool:
    """Whether this process was told so."""
    return os.environ.get(REHEARSAL) == "1"

"""What this machine is: the name of what trains here, and its memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from service.jobs.job import Device
from worker.gpus import Gpu

CPUINFO = Path("/proc/cpuinfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def described(device: Device, gpus: Sequence[Gpu] = ()) -> tuple[str | None, int | None]:
    """(name, bytes of memory) of the processor or of the first GPU; None for what cannot be told."""
    if device == "cpu":
        return _processor(CPUINFO), _memory(CGROUP_LIMIT)
    return (gpus[0].name, gpus[0].memory_bytes) if gpus else (None, None)


def _processor(cpuinfo: Path) -> str | None:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, None) or platform.processor() or None


def _memory(cgroup_limit: Path) -> int:
    """The machine's, or less where a container may use less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(cgroup_limit.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit: `max`
        return whole

"""What this machine is: the name of what trains here, and its memory. torch is not asked: a GPU that this process opened would be held by it."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from service.jobs.job import Device

CPUINFO = Path("/proc/cpuinfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
ASKED_SECONDS = 10


def described(device: Device) -> tuple[str | None, int | None]:
    """(name, bytes of memory) of the processor or of the first GPU; None for what cannot be told."""
    return _gpu() if device == "gpu" else (_processor(CPUINFO), _memory(CGROUP_LIMIT))


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


def _gpu() -> tuple[str | None, int | None]:
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ASKED_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return None, None
    return of_gpu(told)


def of_gpu(told: str) -> tuple[str | None, int | None]:
    """The first line of `name, MiB`."""
    name, _, mebibytes = (told.splitlines() or [""])[0].rpartition(",")
    size = mebibytes.strip()
    return name.strip() or None, int(size) * 2**20 if size.isdecimal() else None

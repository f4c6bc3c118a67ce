"""Evidence that the kernel's out-of-memory killer struck. A process that was merely killed shows none."""

from __future__ import annotations

from pathlib import Path

_V1, _V2 = "memory.oom_control", "memory.events"


class KillCount:
    """How many processes of this process's control group the killer has ended, by the kernel's own count (cgroups(7), v1 and v2)."""

    def __init__(self, *, proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._file = next((file for file in _candidates(proc, mount) if file.is_file()), None)
        self._before = self._now()

    def rose(self) -> bool:
        """Whether it ended one since this was made. Other trainers of the same worker count too. False where nobody counts."""
        return self._now() > self._before

    def _now(self) -> int:
        try:
            lines = self._file.read_text().splitlines() if self._file else []
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _candidates(proc: Path, mount: Path) -> list[Path]:
    """Where the count may stand. In a container the group's path is the host's, while its files lie at the top of the mount."""
    try:
        groups = [line.split(":", 2) for line in proc.read_text().splitlines()]
    except OSError:
        return []
    found: list[Path] = []
    for _, controllers, path in groups:
        inner = path.lstrip("/")
        if "memory" in controllers.split(","):
            found = [mount / "memory" / inner / _V1, mount / "memory" / _V1, *found]
        elif not controllers:
            found += [mount / inner / _V2, mount / "unified" / inner / _V2, mount / _V2]
    return found

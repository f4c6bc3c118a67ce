"""Where attempts write on this machine: a folder for each, under its worker's own; those of workers that died are removed by the next one."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from service.jobs.ports import Claim
from worker.leftovers import remove


class AttemptFolders:
    """One worker's folders, locked while it lives."""

    def __init__(self, work_dir: Path, worker: str) -> None:
        self._attempts, self._kept = work_dir / "attempts", work_dir / "kept"
        self._own = self._attempts / worker
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self._own.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._own)
        for other in self._attempts.iterdir():
            if other != self._own and (lock := _locked(other)) is not None:
                remove(other)
                lock.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        remove(self._own)
        if self._lock is not None:
            self._lock.close()

    @contextmanager
    def of(self, claim: Claim) -> Iterator[Path]:
        """An empty folder for an attempt, gone with it unless it is kept."""
        folder = self._own / f"{claim.job.id}-{claim.token}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            remove(folder)

    def keep(self, folder: Path) -> str:
        """Set a folder apart that holds the only copy of something; answers where it is, for people."""
        self._kept.mkdir(exist_ok=True)
        target = self._kept / folder.name
        folder.rename(target)
        return f"{target} on {socket.gethostname()}"


def _locked(folder: Path) -> IO[str] | None:
    """The folder's lock, held until it is closed or the process ends; None where another process holds it, or the folder is gone."""
    try:
        lock = (folder / "lock").open("w")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock

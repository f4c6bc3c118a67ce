"""The twin of what projects have."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from service.access.quota import RESERVED, QuotaExceeded, Usage
from service.adapters.memory.shelf import Shelf
from service.jobs.state import JobState


class MemoryAccounts:
    """The Accounts port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def usage(self, project: str) -> Usage:
        """Now."""
        shelf = self._shelf
        with shelf.lock:
            shelf.lapse(project)
            states = Counter(job.state for job in shelf.jobs.values() if job.project == project)
            gpu_time = timedelta(milliseconds=shelf.gpu_ms(project))
            return Usage(states[JobState.RUNNING], shelf.queued(project), shelf.stored_bytes(project), gpu_time)

    def room(self, project: str) -> int | None:
        """How many bytes more it may store; None where nothing limits it."""
        with self._shelf.lock:
            self._shelf.lapse(project)
            most = self._shelf.quota(project).stored_bytes
            return None if most is None else max(0, most - self._shelf.stored_bytes(project))

    def reserve(self, project: str, owner: str, size: int) -> None:
        """Count bytes that are about to be stored, for a while. Raises QuotaExceeded."""
        shelf = self._shelf
        with shelf.lock:
            shelf.lapse(project)
            most = shelf.quota(project).stored_bytes
            used = shelf.stored_bytes(project) - shelf.stored[project].get(owner, 0)
            if most is not None and used + size > most:
                raise QuotaExceeded("stored_bytes", used=used, limit=most, wanted=size)
            shelf.charge(project, owner, size)
            shelf.reserved[project, owner] = shelf.now() + RESERVED

    def charge(self, project: str, owner: str, size: int) -> None:
        """So many bytes in storage are the owner's."""
        with self._shelf.lock:
            self._shelf.charge(project, owner, size)

"""How things stand, as an operator's monitor asks it: of every project, and the same whichever process is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from service.jobs.job import Device
from service.jobs.ports.workers import WorkerBeat

WITHIN_SECONDS = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "300", "1800", "7200", "43200")
"""The bounds that waits are counted by; what took longer than the last is counted as `+Inf`."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A project's jobs of one class: how many wait, since when the one that has waited longest, how many run."""

    device: Device
    project: str
    waiting: int = 0
    oldest_at: datetime | None = None
    running: int = 0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """All of one time, by the store's clock. Bytes are None where nobody can tell, a limit of 0 is none."""

    at: datetime
    lines: Sequence[Line] = ()
    workers: Sequence[WorkerBeat] = ()
    unsaved: int = 0
    """Records that storage has not, or not as they are."""
    unsaved_since: datetime | None = None
    to_look_at: int = 0
    """Uploads of data."""
    used_bytes: int | None = None
    most_bytes: int | None = None
    counts: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    """How often something happened since the store is there, by words: (submitted, device), (attempt, device, outcome, reason), (ended, device,
    state, reason); of what took time, wait or first_step, (name, device, bound) and, in all, (name, device, ms)."""


class Monitor(Protocol):
    """Tells how things stand."""

    def standing(self) -> Standing:
        """Now. Takes a millisecond or so, however many jobs there are. Raises StoreUnavailable."""

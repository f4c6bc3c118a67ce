"""What was done, and what was refused: by whom, from where. Never a secret, never a body."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """One request that changed something, or was not let in."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    at: datetime
    key_id: str | None
    """Null where nobody is known: the service is open, or no good key was shown."""
    project: str | None
    action: str
    """Method and route, as `POST /v1/jobs/{job_id}/cancel`."""
    object: str | None
    """What it was about: an id, a name."""
    outcome: int
    """The HTTP status."""
    address: str | None
    """Where it came from."""
    request_id: str
    """The answer's `X-Request-ID`."""
    times: int = 1
    """Refusals that differ in nothing but the time are counted for a minute."""


class Told(Entry):
    """An entry with its id, which is its place in the log: ms-number."""

    id: str


def place(id: str) -> tuple[int, int]:
    """Where an id stands in the log."""
    ms, _, number = id.partition("-")
    return int(ms), int(number)


class AuditLog(Protocol):
    """The newest entries, and what of them storage does not have yet. Each method raises StoreUnavailable."""

    def append(self, entries: Sequence[Entry]) -> None:
        """In this order."""
        ...

    def before(self, id: str | None, *, limit: int) -> Sequence[Told]:
        """The newest ones before an id (of all, where None), the newest first."""
        ...

    def unsaved_audit(self, limit: int) -> Sequence[Told]:
        """Those after the last saved one, oldest first."""
        ...

    def saved_audit(self, id: str) -> None:
        """Storage has all up to this one."""
        ...

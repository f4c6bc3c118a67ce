"""The audit log in Redis: a capped stream, and how far storage has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from service.access.audit import Entry, Told
from service.adapters.redis_scripts import Scripts, our_errors
from service.adapters.stores import AUDIT_KEPT

AT_ONCE = 1000
"""Entries that are added in one call: a millisecond or two of Redis."""
_NOTHING = "0-0"


class RedisAudit:
    """The AuditLog port."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._client: redis.Redis = scripts.client

    def append(self, entries: Sequence[Entry]) -> None:
        """In this order."""
        for at in range(0, len(entries), AT_ONCE):
            self._scripts.call("audit_append", AUDIT_KEPT, *(entry.model_dump_json() for entry in entries[at : at + AT_ONCE]))

    def before(self, id: str | None, *, limit: int) -> Sequence[Told]:
        """The newest ones before an id (of all, where None), the newest first."""
        with our_errors():
            found: Any = self._client.xrevrange("ty:audit", max=f"({id}" if id else "+", count=limit)
        return _told(found)

    def unsaved_audit(self, limit: int) -> Sequence[Told]:
        """Those after the last saved one, oldest first."""
        with our_errors():
            saved: Any = self._client.get("ty:audit_saved")
            found: Any = self._client.xrange("ty:audit", min=f"({saved.decode() if saved else _NOTHING}", count=limit)
        return _told(found)

    def saved_audit(self, id: str) -> None:
        """Storage has all up to this one."""
        self._scripts.call("audit_saved", id)


def _told(found: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> Sequence[Told]:
    entries = ((id.decode(), Entry.model_validate_json(fields[b"entry"])) for id, fields in found)
    return [Told(id=id, **dict(entry)) for id, entry in entries]

"""The twins of keys and projects, of the audit log, and of rates."""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from service.access.audit import Entry, Told, place
from service.access.errors import KeyChanged, KeyNotFound, ProjectChanged, ProjectExists, ProjectInUse, ProjectNotFound
from service.access.keys import Key, Project
from service.access.principal import DEFAULT_PROJECT
from service.access.rates import Bucket, Grant, Policy
from service.adapters.memory.shelf import Shelf
from service.adapters.stores import ALWAYS_THERE, AUDIT_KEPT, to_ms


class MemoryAccess:
    """The AccessStore port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._lock = shelf, threading.Lock()
        self._keys: dict[str, Key] = {}
        self._used: dict[str, datetime] = {}
        self._projects: dict[str, Project] = {DEFAULT_PROJECT: ALWAYS_THERE}
        self._unsaved: dict[tuple[str, str], None] = {}
        self._secret = secrets.token_bytes(32)

    def add(self, key: Key, *, first: bool = False) -> bool:
        """Keep a new key; with `first`, only where there never was one. False where it was not kept."""
        with self._lock:
            if key.id in self._keys or (first and self._keys):
                return False
            self._keys[key.id] = key
            self._unsaved["key", key.id] = None
            return True

    def replace(self, key: Key) -> None:
        """Keep the next version of a key. Raises KeyChanged where the record is not the version before."""
        with self._lock:
            if key.id not in self._keys or self._keys[key.id].version != key.version - 1:
                raise KeyChanged(key.id)
            self._keys[key.id] = key
            self._unsaved["key", key.id] = None

    def find(self, key_id: str) -> Key:
        """The key, also one that is revoked. Raises KeyNotFound."""
        if key_id not in self._keys:
            raise KeyNotFound(key_id)
        return self._keys[key_id]

    def list(self) -> Sequence[Key]:
        """Every key there ever was, by its creation."""
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))

    def exist(self) -> bool:
        """Whether there ever was one: from then on nobody comes in without."""
        return bool(self._keys)

    def used(self, key_id: str, at: datetime) -> None:
        """Just now."""
        self._used[key_id] = at

    def last_used(self) -> Mapping[str, datetime]:
        """By key, of those that ever were."""
        return dict(self._used)

    def make(self, project: Project) -> None:
        """Raises ProjectExists."""
        with self._lock:
            if project.name in self._projects:
                raise ProjectExists(project.name)
            self._projects[project.name] = project
            self._unsaved["project", project.name] = None

    def project(self, name: str) -> Project:
        """Raises ProjectNotFound."""
        if name not in self._projects:
            raise ProjectNotFound(name)
        return self._projects[name]

    def projects(self) -> Sequence[Project]:
        """By name."""
        return sorted(self._projects.values(), key=lambda project: project.name)

    def change(self, project: Project) -> None:
        """Keep the next version of a project. Raises ProjectNotFound, ProjectChanged where the record is not the version before."""
        with self._lock, self._shelf.lock:
            if self.project(project.name).version != project.version - 1:
                raise ProjectChanged(project.name)
            self._projects[project.name] = project
            self._shelf.quotas[project.name] = project.quota
            self._unsaved["project", project.name] = None

    def unmake(self, name: str) -> None:
        """Raises ProjectNotFound, ProjectInUse."""
        if name == DEFAULT_PROJECT:
            raise ProjectInUse(name, by="its name: it is always there")
        with self._lock, self._shelf.lock:
            self.project(name)
            if any(job.project == name for job in self._shelf.jobs.values()):
                raise ProjectInUse(name, by="jobs")
            if any(project == name for project, _, _ in self._shelf.datasets):
                raise ProjectInUse(name, by="data sets")
            for key in self._keys.values():
                if key.project == name and key.revoked_at is None:
                    raise ProjectInUse(name, by=f"a key that is not revoked: {key.id}")
            del self._projects[name]
            self._shelf.quotas.pop(name, None)
            self._unsaved["project", name] = None

    def session_secret(self) -> bytes:
        """32 random bytes."""
        return self._secret

    def unsaved_access(self, limit: int) -> Sequence[Key | Project | str]:
        """Records to be written, and names of projects whose record goes."""
        waiting = list(self._unsaved)[:limit]
        return [self._keys[name] if kind == "key" else self._projects.get(name, name) for kind, name in waiting]

    def saved_access(self, written: Key | Project | str) -> None:
        """It is done."""
        with self._lock:
            if isinstance(written, str):
                self._settle("project", written, is_same=written not in self._projects)
            elif isinstance(written, Project):
                self._settle("project", written.name, is_same=self._projects.get(written.name) == written)
            elif self._keys[written.id].version == written.version:
                self._unsaved.pop(("key", written.id), None)

    def _settle(self, kind: str, name: str, *, is_same: bool) -> None:
        """Storage has the record as it is here; or what landed there was of another version."""
        if is_same:
            self._unsaved.pop((kind, name), None)
        else:
            self._unsaved[kind, name] = None

    def restore_access(self, record: Key | Project) -> bool:
        """Put a record back unless one is here that is as new; False where there was nothing to do."""
        with self._lock:
            if isinstance(record, Key):
                here = self._keys.get(record.id)
                if here is not None and here.version >= record.version:
                    return False
                self._keys[record.id] = record
                return True
            if record.name in self._projects:
                return False
            self._projects[record.name] = record
            self._shelf.quotas[record.name] = record.quota
            return True


class MemoryAudit:
    """The AuditLog port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._lock = shelf, threading.Lock()
        self._entries: list[Told] = []
        self._saved = (0, 0)

    def append(self, entries: Sequence[Entry]) -> None:
        """In this order."""
        with self._lock:
            for entry in entries:
                ms, (last, number) = int(self._shelf.now().timestamp() * 1000), self._last()
                id = f"{ms}-0" if ms > last else f"{last}-{number + 1}"
                self._entries.append(Told(id=id, **dict(entry)))
            del self._entries[:-AUDIT_KEPT]

    def _last(self) -> tuple[int, int]:
        return place(self._entries[-1].id) if self._entries else (0, 0)

    def before(self, id: str | None, *, limit: int) -> Sequence[Told]:
        """The newest ones before an id (of all, where None), the newest first."""
        found = [entry for entry in reversed(self._entries) if id is None or place(entry.id) < place(id)]
        return found[:limit]

    def unsaved_audit(self, limit: int) -> Sequence[Told]:
        """Those after the last saved one, oldest first."""
        return [entry for entry in self._entries if place(entry.id) > self._saved][:limit]

    def saved_audit(self, id: str) -> None:
        """Storage has all up to this one."""
        self._saved = max(self._saved, place(id))


class MemoryRates:
    """The Rates port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._buckets: dict[str, Bucket] = defaultdict(Bucket)

    async def take(self, who: str, policy: Policy, *, process: str, back: int, wanted: int) -> Grant:
        """Tokens for requests, and some in advance."""
        now_us = to_ms(self._shelf.now()) * 1000
        return self._buckets[who].take(policy, process=process, now_us=now_us, back=back, wanted=wanted)

    async def aclose(self) -> None:
        """Nothing to let go."""

"""Keys and projects in Redis: small hashes, read whole where more than one record is wanted."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import redis

from service.access.errors import KeyChanged, KeyNotFound, ProjectChanged, ProjectExists, ProjectInUse, ProjectNotFound
from service.access.keys import Key, Project
from service.access.principal import DEFAULT_PROJECT
from service.adapters.redis_scripts import Scripts, our_errors
from service.adapters.stores import ALWAYS_THERE, from_ms, to_ms


class RedisAccess:
    """The AccessStore port."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._client: redis.Redis = scripts.client

    def add(self, key: Key, *, first: bool = False) -> bool:
        """Keep a new key; with `first`, only where there never was one. False where it was not kept."""
        return self._put(key, "first" if first else "new")

    def replace(self, key: Key) -> None:
        """Keep the next version of a key. Raises KeyChanged where the record is not the version before."""
        if not self._put(key, "next"):
            raise KeyChanged(key.id)

    def _put(self, key: Key, which: str) -> bool:
        return bool(self._scripts.call("key_put", key.id, key.model_dump_json(), key.version, which))

    def find(self, key_id: str) -> Key:
        """The key, also one that is revoked. Raises KeyNotFound."""
        with our_errors():
            record: Any = self._client.hget("ty:keys", key_id)
        if record is None:
            raise KeyNotFound(key_id)
        return Key.model_validate_json(record)

    def list(self) -> Sequence[Key]:
        """Every key there ever was, by its creation."""
        with our_errors():
            records: Any = self._client.hvals("ty:keys")
        return sorted(map(Key.model_validate_json, records), key=lambda key: (key.created_at, key.id))

    def exist(self) -> bool:
        """Whether there ever was one: from then on nobody comes in without."""
        with our_errors():
            return bool(self._client.exists("ty:keys"))

    def used(self, key_id: str, at: datetime) -> None:
        """Just now."""
        with our_errors():
            self._client.hset("ty:keys_used", key_id, to_ms(at))

    def last_used(self) -> Mapping[str, datetime]:
        """By key, of those that ever were."""
        with our_errors():
            found: Any = self._client.hgetall("ty:keys_used")
        return {key_id.decode(): from_ms(int(ms)) for key_id, ms in found.items()}

    def make(self, project: Project) -> None:
        """Raises ProjectExists."""
        with our_errors():
            made = project.name != DEFAULT_PROJECT and self._client.hsetnx("ty:projects", project.name, project.model_dump_json())
            if not made:
                raise ProjectExists(project.name)
            self._client.sadd("ty:access_unsaved", f"project/{project.name}")

    def project(self, name: str) -> Project:
        """Raises ProjectNotFound."""
        with our_errors():
            record: Any = self._client.hget("ty:projects", name)
        if record is None and name == DEFAULT_PROJECT:
            return ALWAYS_THERE
        if record is None:
            raise ProjectNotFound(name)
        return Project.model_validate_json(record)

    def projects(self) -> Sequence[Project]:
        """By name."""
        with our_errors():
            records: Any = self._client.hvals("ty:projects")
        found = {project.name: project for project in (ALWAYS_THERE, *map(Project.model_validate_json, records))}
        return [found[name] for name in sorted(found)]

    def change(self, project: Project) -> None:
        """Keep the next version of a project. Raises ProjectNotFound, ProjectChanged where the record is not the version before."""
        is_always_there = int(project.name == DEFAULT_PROJECT)
        kept = self._scripts.call("project_put", project.name, project.model_dump_json(), project.version, is_always_there)
        if kept is None:
            raise ProjectNotFound(project.name)
        if not kept:
            raise ProjectChanged(project.name)

    def unmake(self, name: str) -> None:
        """Raises ProjectNotFound, ProjectInUse."""
        if name == DEFAULT_PROJECT:
            raise ProjectInUse(name, by="its name: it is always there")
        answer = self._scripts.call("project_remove", name).decode()
        if answer == "gone":
            raise ProjectNotFound(name)
        if answer != "removed":
            raise ProjectInUse(name, by=answer)

    def session_secret(self) -> bytes:
        """32 random bytes, the same for every API process; made when first asked for."""
        with our_errors():
            found: Any = self._client.get("ty:session_secret")
            if found is None:
                self._client.set("ty:session_secret", secrets.token_bytes(32), nx=True)
                found = self._client.get("ty:session_secret")
        return bytes(found)

    def unsaved_access(self, limit: int) -> Sequence[Key | Project | str]:
        """Records to be written, and names of projects whose record goes."""
        with our_errors():
            members: Any = self._client.srandmember("ty:access_unsaved", limit)
        return list(self._records(members))

    def _records(self, members: Sequence[bytes]) -> Iterator[Key | Project | str]:
        for member in members:
            kind, _, name = member.decode().partition("/")
            try:
                yield self.find(name) if kind == "key" else self.project(name)
            except ProjectNotFound:
                yield name

    def saved_access(self, written: Key | Project | str) -> None:
        """It is done."""
        if isinstance(written, Key):
            self._scripts.call("key_saved", written.id, written.version)
            return
        name, version = (written, "") if isinstance(written, str) else (written.name, str(written.version))
        self._scripts.call("project_saved", name, version)

    def restore_access(self, record: Key | Project) -> bool:
        """Put a record back unless one is here that is as new; False where there was nothing to do."""
        if isinstance(record, Key):
            return self._put(record, "restored")
        with our_errors():
            return bool(self._client.hsetnx("ty:projects", record.name, record.model_dump_json()))

"""What a client asks about keys and projects, and what it may do itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from service.client.connection import Connection
from service.client.rows import Rows

Key = dict[str, Any]
Project = dict[str, Any]
Quota = dict[str, Any]


class Administering(Connection):
    """The part of a client that is about who may do what."""

    def me(self) -> dict[str, Any]:
        """Whose key this is: {key_id, name, project, role, everywhere, expires_at}."""
        return self._object("GET", "/v1/me", has="role")

    def create_key(self, name: str, *, role: str = "submit", project: str | None = None, expires_at: datetime | None = None) -> Key:
        """A new key; `key` of the answer is its secret, which is told this once. `project="*"` makes an admin of the installation."""
        body = {"name": name, "role": role, "project": project, "expires_at": expires_at.isoformat() if expires_at else None}
        return self._object("POST", "/v1/keys", has="key", json=body)

    def keys(self, *, project: str | None = None) -> Rows:
        """Keys without their secrets: {id, name, project, role, state, created_at, created_by, expires_at, revoked_at, last_used_at, ...}."""
        return Rows(self._object("GET", "/v1/keys", has="data", params={"project": project} if project else {})["data"])

    def key(self, key_id: str) -> Key:
        """One key. Raises NotFound."""
        return self._object("GET", _key_path(key_id), has="state")

    def change_key(self, key_id: str, **changes: Any) -> Key:
        """Another `name` or `expires_at` (a datetime; None: never). Raises NotFound, Conflict."""
        told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in changes.items()}
        return self._object("PATCH", _key_path(key_id), has="state", json=told)

    def rotate_key(self, key_id: str, *, overlap_seconds: int = 86_400) -> Key:
        """A new secret; the old one is accepted for a while. Raises NotFound, Conflict."""
        return self._object("POST", f"{_key_path(key_id)}/rotate", has="key", params={"overlap_seconds": overlap_seconds})

    def revoke_key(self, key_id: str) -> None:
        """For good. Raises NotFound, Conflict."""
        self._ask("DELETE", _key_path(key_id))

    def projects(self) -> Rows:
        """The projects that the key rules: {name, description, created_at}."""
        return Rows(self._object("GET", "/v1/projects", has="data")["data"])

    def create_project(self, name: str, *, description: str = "") -> Project:
        """A new project. Raises Conflict where it is there."""
        return self._object("POST", "/v1/projects", has="name", json={"name": name, "description": description})

    def project(self, name: str) -> Project:
        """One project. Raises NotFound."""
        return self._object("GET", f"/v1/projects/{quote(name, safe='')}", has="name")

    def delete_project(self, name: str) -> None:
        """Remove an empty project. Raises NotFound, Conflict."""
        self._ask("DELETE", f"/v1/projects/{quote(name, safe='')}")

    def quota(self, project: str | None = None) -> Quota:
        """What a project may have, and has: {project, quota, limits, used}; your own where none is named. Raises NotFound."""
        return self._object("GET", "/v1/quota" if project is None else _quota_path(project), has="limits")

    def set_quota(self, project: str, **limits: float | None) -> Quota:
        """Say what a project may have: running, queued, stored_bytes, gpu_hours. 0: no limit; None, or left out: what the installation says."""
        return self._object("PUT", _quota_path(project), has="limits", json=limits)

    def audit(self, *, limit: int = 100, **filters: Any) -> Rows:
        """What was done and refused, the newest first. Filters: key_id, project, action, object, refused, since (a datetime)."""
        found: list[Mapping[str, Any]] = []
        asked = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in filters.items() if value is not None}
        cursor: str | None = None
        while len(found) < limit:
            page = self._object(
                "GET",
                "/v1/audit",
                has="data",
                params={**asked, "limit": min(1000, limit - len(found)), **({"cursor": cursor} if cursor else {})},
            )
            found += page["data"]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return Rows(map(dict, found))


def _quota_path(project: str) -> str:
    return f"/v1/projects/{quote(project, safe='')}/quota"


def _key_path(key_id: str) -> str:
    return f"/v1/keys/{quote(key_id, safe='')}"

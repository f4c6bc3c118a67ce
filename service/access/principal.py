"""Who asks, where, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DEFAULT_PROJECT = "default"
EVERYWHERE = "*"
"""In the place of a project: a key of the installation."""


class Role(StrEnum):
    """What a key allows in its project: each role all that the ones before it do."""

    READ = "read"
    """Look at jobs and data, take artifacts, check specs, ask models."""
    SUBMIT = "submit"
    """Make, steer and delete jobs and data sets."""
    ADMIN = "admin"
    """Make and revoke the project's keys, read its audit log; of the installation, projects too."""

    def allows(self, needed: Role) -> bool:
        """Whether this is the needed role, or more."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Whoever asks. `key_id` is None where the service is open to all; `project` is the one that this request is about."""

    key_id: str | None
    project: str
    role: Role
    everywhere: bool = False
    """Of the installation: may act in every project, one at a time."""

    def rules(self, project: str) -> bool:
        """Whether this is an admin of that project (of the installation, where it is EVERYWHERE)."""
        return self.role is Role.ADMIN and (self.everywhere or project == self.project)

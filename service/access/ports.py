"""Where keys and projects are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from service.access.keys import Key, Project
from service.access.quota import Usage
from service.access.rates import Grant, Policy


class KeyStore(Protocol):
    """The records of keys. Each method raises StoreUnavailable."""

    def add(self, key: Key, *, first: bool = False) -> bool:
        """Keep a new key; with `first`, only where there never was one. False where it was not kept."""
        ...

    def replace(self, key: Key) -> None:
        """Keep the next version of a key. Raises KeyChanged where the record is not the version before."""
        ...

    def find(self, key_id: str) -> Key:
        """The key, also one that is revoked. Raises KeyNotFound."""
        ...

    def list(self) -> Sequence[Key]:
        """Every key there ever was, by its creation."""
        ...

    def exist(self) -> bool:
        """Whether there ever was one: from then on nobody comes in without."""
        ...


class KeyUses(Protocol):
    """When keys were last used, to the minute or so. Each method raises StoreUnavailable."""

    def used(self, key_id: str, at: datetime) -> None:
        """Just now."""
        ...

    def last_used(self) -> Mapping[str, datetime]:
        """By key, of those that ever were."""
        ...


class ProjectStore(Protocol):
    """Which projects there are. `default` always is. Each method raises StoreUnavailable."""

    def make(self, project: Project) -> None:
        """Raises ProjectExists."""
        ...

    def project(self, name: str) -> Project:
        """Raises ProjectNotFound."""
        ...

    def projects(self) -> Sequence[Project]:
        """By name."""
        ...

    def change(self, project: Project) -> None:
        """Keep the next version of a project. Raises ProjectNotFound, ProjectChanged where the record is not the version before."""
        ...

    def unmake(self, name: str) -> None:
        """Raises ProjectNotFound, ProjectInUse."""
        ...


class Accounts(Protocol):
    """What projects have of what quotas limit. Each method raises StoreUnavailable."""

    def usage(self, project: str) -> Usage:
        """Now."""
        ...

    def room(self, project: str) -> int | None:
        """How many bytes more it may store; None where nothing limits it."""
        ...

    def reserve(self, project: str, owner: str, size: int) -> None:
        """Count bytes that are about to be stored, for a while. Raises QuotaExceeded where the project may not have so many more."""
        ...

    def charge(self, project: str, owner: str, size: int) -> None:
        """So many bytes in storage are the owner's."""
        ...


class SessionSecret(Protocol):
    """What signs the sessions of browsers."""

    def session_secret(self) -> bytes:
        """32 random bytes, the same for every API process; made when first asked for. Raises StoreUnavailable."""
        ...


class Safekeeping(Protocol):
    """What of keys and projects storage does not have yet. Each method raises StoreUnavailable."""

    def unsaved_access(self, limit: int) -> Sequence[Key | Project | str]:
        """Records to be written, and names of projects whose record goes."""
        ...

    def saved_access(self, written: Key | Project | str) -> None:
        """It is done."""
        ...

    def restore_access(self, record: Key | Project) -> bool:
        """Put a record back unless one is here that is as new; False where there was nothing to do."""
        ...


class AccessStore(KeyStore, KeyUses, ProjectStore, SessionSecret, Safekeeping, Protocol):
    """All of them, as one store stands behind them."""


class Rates(Protocol):
    """What is left of everybody's rate, the same for every API process. For an event loop."""

    async def take(self, who: str, policy: Policy, *, process: str, back: int, wanted: int) -> Grant:
        """Tokens for `wanted` requests of `who`, as many as there are, and some in advance for this process. Raises StoreUnavailable.

        It gives `back` what it did not spend of its last ones, and asks for one `who` once at a time.
        """
        ...

    async def aclose(self) -> None:
        """Let the connection go."""
        ...

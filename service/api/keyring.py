"""Looks keys up for an event loop: off it, once for all who ask at the same time, and not again for a second."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from service.access.errors import KeyNotFound
from service.access.keys import Key, Malformed, Secret, digest, id_of
from service.access.ports import AccessStore
from service.access.principal import EVERYWHERE, Role
from service.jobs.errors import TrainyardError, Unavailable

T = TypeVar("T")
REMEMBERED_SECONDS = 1.0
"""How long a key that was revoked elsewhere may still be let in here."""
MOST_REMEMBERED = 10_000
USED_SECONDS = 60.0
"""How often the use of a key is noted."""
ENVIRONMENT = "environment"
"""The id of the key that TRAINYARD_API_KEY gives."""


class Keyring:
    """Every key that opens this service. `api_key` is the environment's; with `locked` nobody comes in without a key, whatever there is."""

    def __init__(
        self,
        store: AccessStore,
        *,
        api_key: str | None = None,
        locked: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self._store, self._now = store, now
        self._own = _of_the_environment(api_key) if api_key else None
        self._closed = locked or self._own is not None
        self._known: dict[tuple[str, str], tuple[float, asyncio.Future[Any]]] = {}
        self._noted: dict[str, float] = {}

    async def is_open(self) -> bool:
        """Whether everybody may do everything: there is no key, and never was one. Once closed it stays so."""
        if not self._closed and await self._once("", "exist", self._store.exist):
            self._closed = True
        return not self._closed

    async def key_of(self, text: str) -> Key:
        """The key that reads so. Raises Malformed, KeyNotFound.

        One with a record is what its record says, though the environment gives it, too: it may have been revoked since.
        """
        sha256 = digest(text)
        is_own = self._own is not None and hmac.compare_digest(self._own.secrets[0].sha256, sha256)
        try:
            key = await self.find(id_of(text))
        except (Malformed, KeyNotFound):
            if self._own is not None and is_own:
                return self._own
            raise
        if not key.accepts(sha256, now=self._now()):
            raise Malformed
        return key

    async def find(self, key_id: str) -> Key:
        """The key of that id, whatever has become of it. Raises KeyNotFound, Malformed."""
        if key_id == ENVIRONMENT:
            if self._own is None:
                raise Malformed
            return self._own
        return await self._once("key", key_id, lambda: self._store.find(key_id))

    async def check_project(self, name: str) -> None:
        """Raises ProjectNotFound."""
        await self._once("project", name, lambda: self._store.project(name))

    async def session_secret(self) -> bytes:
        """What signs sessions."""
        return await self._once("", "session", self._store.session_secret)

    def forget(self) -> None:
        """What is changed here holds here at once."""
        self._known.clear()

    async def note_use(self, key: Key) -> None:
        """Remember that the key was used, now and then."""
        now = time.monotonic()
        if key is self._own or now < self._noted.get(key.id, 0):
            return
        self._noted[key.id] = now + USED_SECONDS
        with suppress(Unavailable):  # a store that is full still tells who may come in
            await asyncio.to_thread(self._store.used, key.id, self._now())

    @property
    def now(self) -> datetime:
        """The time by which keys expire."""
        return self._now()

    async def _once(self, kind: str, name: str, ask: Callable[[], T]) -> T:
        """The answer of the last second; else a new one, for all who wait for it."""
        until, asked = self._known.get((kind, name), (0.0, None))
        if asked is None or until < time.monotonic():
            if len(self._known) > MOST_REMEMBERED:
                self._known.clear()
            asked = asyncio.ensure_future(asyncio.to_thread(ask))
            self._known[kind, name] = time.monotonic() + REMEMBERED_SECONDS, asked
        try:
            found: T = await asyncio.shield(asked)
        except TrainyardError:
            self._known.pop((kind, name), None)
            raise
        return found


def _of_the_environment(text: str) -> Key:
    """An admin of the installation, whatever the key looks like."""
    return Key.model_construct(
        id=ENVIRONMENT,
        name="TRAINYARD_API_KEY",
        project=EVERYWHERE,
        role=Role.ADMIN,
        secrets=(Secret(sha256=digest(text)),),
        created_at=datetime.fromtimestamp(0, UTC),
        created_by=None,
        expires_at=None,
        revoked_at=None,
        version=1,
    )

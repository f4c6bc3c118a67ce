"""Keys as they are kept, and their secrets as they are shown, once.

A key reads `trainyard_<id>_<secret><checksum>`: 12 hex digits that may be told to anybody, 32 characters of chance (190 bits), and 6 of CRC-32
over all before them, so that a typo, or a scanner's find in a repository, is told from a key without asking anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from service.access.principal import EVERYWHERE, Role
from service.access.quota import Quota

PREFIX = "trainyard"
ID = "[0-9a-f]{12}"
PROJECT = "[a-z0-9][a-z0-9_-]{0,62}"
"""What a project may be called: it stands in the keys of Redis and S3."""
NAME_LENGTH = 100
_BASE = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH, _CHECK_LENGTH = 32, 6
_WHOLE = re.compile(rf"{PREFIX}_({ID})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CHECK_LENGTH}}})", re.ASCII)


class Malformed(ValueError):
    """No key was ever made that reads so."""


def new_id() -> str:
    """A key's id. It is no secret."""
    return secrets.token_hex(6)


def new_secret(key_id: str) -> str:
    """A key as its owner keeps it."""
    text = f"{PREFIX}_{key_id}_{''.join(secrets.choice(_BASE) for _ in range(_SECRET_LENGTH))}"
    return text + _checksum(text)


def id_of(text: str) -> str:
    """The id in a key. Raises Malformed where its checksum, or anything else, is wrong."""
    found = _WHOLE.fullmatch(text)
    if found is None or _checksum(text[:-_CHECK_LENGTH]) != found[3]:
        raise Malformed
    return found[1]


def is_made(text: str) -> bool:
    """Whether it reads as a key that was made, here or elsewhere."""
    try:
        id_of(text)
    except Malformed:
        return False
    return True


def digest(text: str) -> str:
    """What is kept of a key. SHA-256 is enough: nobody guesses 190 bits of chance, however fast the hash; a slow one would only slow us."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(text: str) -> str:
    value, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECK_LENGTH):
        value, digit = divmod(value, len(_BASE))
        digits = _BASE[digit] + digits
    return digits


class Secret(BaseModel):
    """One secret of a key; `until`: one that another has taken the place of, accepted until then."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    until: datetime | None = None


class Key(BaseModel):
    """What is kept of a key. Records stay when a key is revoked: that is what keeps it so."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=f"^{ID}$")
    name: str = Field(max_length=NAME_LENGTH)
    project: str = Field(pattern=rf"^({PROJECT}|\*)$")
    role: Role
    secrets: tuple[Secret, ...]
    created_at: datetime
    created_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    version: int = 1

    @property
    def everywhere(self) -> bool:
        """Whether it is the installation's."""
        return self.project == EVERYWHERE

    def accepts(self, sha256: str, *, now: datetime) -> bool:
        """Whether this is one of its secrets, whatever has become of the key. In constant time for each."""
        return any(hmac.compare_digest(each.sha256, sha256) for each in self._accepted(now))

    def signed_in(self, fingerprint: str, *, now: datetime) -> bool:
        """Whether a secret with this beginning of its digest is still accepted."""
        return any(hmac.compare_digest(each.sha256[: len(fingerprint)], fingerprint) for each in self._accepted(now))

    def is_live(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def rotated(self, sha256: str, *, now: datetime, overlap: timedelta) -> Self:
        """With a new secret; the one before is accepted for the overlap, older ones no more."""
        return self._changed(secrets=(Secret(sha256=sha256), Secret(sha256=self.secrets[0].sha256, until=now + overlap)))

    def revoked(self, now: datetime) -> Self:
        """For good. One that was revoked before stays as it is."""
        return self if self.revoked_at else self._changed(revoked_at=now)

    def described(self, *, name: str, expires_at: datetime | None) -> Self:
        """Under this name, until this time."""
        return self._changed(name=name, expires_at=expires_at)

    def _accepted(self, now: datetime) -> Sequence[Secret]:
        return [each for each in self.secrets if each.until is None or now < each.until]

    def _changed(self, **changes: object) -> Self:
        return self.model_copy(update={**changes, "version": self.version + 1})


class Project(BaseModel):
    """A project: keys, jobs and data belong to one."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=f"^{PROJECT}$")
    description: str = Field(default="", max_length=1000)
    created_at: datetime
    quota: Quota = Quota()
    version: int = 1

    def limited(self, quota: Quota) -> Self:
        """With another quota."""
        return self.model_copy(update={"quota": quota, "version": self.version + 1})

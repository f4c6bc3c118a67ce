"""A browser's session: a cookie that stands for a key as long as the key is good, and the token that shows a request to be of its own pages."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, replace

from service.access.keys import Key

COOKIE = "trainyard_session"
SECONDS = 30 * 24 * 3600
_FINGERPRINT = 16


@dataclass(frozen=True, kw_only=True)
class Session:
    """Whose it is: a key, by its id and the beginning of its secret's digest; the project that is looked at; and when it ends."""

    key_id: str
    fingerprint: str
    project: str
    until: int

    @classmethod
    def of(cls, key: Key, sha256: str, *, project: str) -> Session:
        """A new one, for who showed the key with that digest."""
        return cls(key_id=key.id, fingerprint=sha256[:_FINGERPRINT], project=project, until=int(time.time()) + SECONDS)

    def at(self, project: str) -> Session:
        """The same, looking at another project."""
        return replace(self, project=project)

    def cookie(self, secret: bytes) -> str:
        """As the browser keeps it."""
        told = f"{self.key_id}.{self.fingerprint}.{self.project}.{self.until}"
        return f"{told}.{_signed(secret, 'session', told)}"


def read(cookie: str, secret: bytes) -> Session | None:
    """The session of a cookie; None where it was not signed here, or has ended."""
    told, _, signature = cookie.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signed(secret, "session", told).encode()):
        return None
    key_id, fingerprint, project, until = told.split(".")
    found = Session(key_id=key_id, fingerprint=fingerprint, project=project, until=int(until))
    return found if found.until > time.time() else None


def csrf_token(cookie: str, secret: bytes) -> str:
    """What pages of this session send with every request that changes something: no other site can read it."""
    return _signed(secret, "csrf", cookie)


def is_csrf_token(given: str, cookie: str, secret: bytes) -> bool:
    """Whether it is that."""
    return hmac.compare_digest(given.encode(), csrf_token(cookie, secret).encode())


def _signed(secret: bytes, purpose: str, told: str) -> str:
    return hmac.new(secret, f"{purpose} {told}".encode(), hashlib.sha256).hexdigest()

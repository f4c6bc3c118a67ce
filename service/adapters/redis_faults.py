"""Why Redis cannot be used, and the cure: its errors, and those of the way to it, as StoreUnavailable."""

from __future__ import annotations

from redis.exceptions import AuthenticationError, InvalidResponse, NoPermissionError
from redis.exceptions import TimeoutError as Hanging

from service.adapters.network_faults import cure_of
from service.jobs.errors import StoreUnavailable

STORE, BROKER = "REDIS_URL", "TRAINYARD_BROKER_URL (else REDIS_URL)"


def unavailable(error: Exception, *, variable: str = STORE, url: str | None = None) -> StoreUnavailable:
    """What to raise for what a client of Redis raised. `url` is where it went, where it may be that it never came through."""
    return StoreUnavailable(f"{_WHO[variable]} does not answer ({variable}): {error}", cure=_cure(error, variable, url))


_WHO = {STORE: "Redis", BROKER: "The broker"}


def is_refusal(error: Exception) -> bool:
    """Whether Redis's ACL keeps us from a command, a key or a channel; scripts say so in words of their own."""
    return isinstance(error, NoPermissionError) or "has no permissions to" in str(error)


def _cure(error: Exception, variable: str, url: str | None) -> str:
    if is_refusal(error):
        return f"The user of {variable} lacks a right: docs/howto/more-machines.md lists what it needs."
    if isinstance(error, AuthenticationError) or "username-password pair" in str(error):
        return f"Redis does not know that user and password: correct {variable}, which is redis://USER:PASSWORD@HOST:PORT/0."
    known = cure_of(error, url=variable, ca="REDIS_CA_FILE", client="REDIS_CERT_FILE and REDIS_KEY_FILE", plain="redis://")
    return known or (_guess(error, variable, secure=url.startswith("rediss:")) if url else "")


def _guess(error: Exception, variable: str, *, secure: bool) -> str:
    """A server that does not understand the first word says nothing, or hangs up."""
    hung_up = isinstance(error, InvalidResponse) or "closed by server" in str(error)
    if secure and hung_up:
        return "Where the server wants a certificate of yours, name it in REDIS_CERT_FILE and REDIS_KEY_FILE."
    if secure and isinstance(error, Hanging):
        return f"Start it, or correct {variable}: where no TLS is spoken it is redis://."
    return f"Where TLS is spoken {variable} is rediss://." if hung_up else ""

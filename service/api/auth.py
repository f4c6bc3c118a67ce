"""Who asks: a bearer key where one is configured, or a browser's session that stands for it.

Keys belong to a project; today there is one key and one project.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from fastapi import Request

from service.api.problems import Refused

DEFAULT_PROJECT = "default"
SESSION_COOKIE = "trainyard_session"
SESSION_SECONDS = 30 * 24 * 3600
READING = frozenset({"GET", "HEAD", "OPTIONS"})


async def project_of(request: Request) -> str:
    """The project of the request's key or session, which its line of the log tells. Raises Refused (401, 403)."""
    request.state.project = project = await _project_of(request)
    return project


async def _project_of(request: Request) -> str:
    if request.app.state.api_key is None:
        return DEFAULT_PROJECT
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_key(request, given.strip()):
        return DEFAULT_PROJECT
    if not given and _is_session(request):
        if request.method not in READING and request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise Refused(403, "forbidden", "Another site may not ask this in your name.")
        return DEFAULT_PROJECT
    detail = "Send `Authorization: Bearer <key>` with the service's API key."
    raise Refused(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def is_key(request: Request, given: str) -> bool:
    """Whether this is the service's key."""
    key: str | None = request.app.state.api_key
    return key is not None and hmac.compare_digest(given.encode(), key.encode())


def session_of(request: Request) -> str:
    """What a browser shows instead of the key: when it ends, signed by the key, so that a new key ends them all."""
    until = str(int(time.time()) + SESSION_SECONDS)
    return f"{until}.{_signed(request, until)}"


def _is_session(request: Request) -> bool:
    until, _, signature = request.cookies.get(SESSION_COOKIE, "").partition(".")
    return (
        until.isascii()
        and until.isdigit()
        and int(until) > time.time()
        and hmac.compare_digest(signature.encode(), _signed(request, until).encode())
    )


def _signed(request: Request, until: str) -> str:
    return hmac.new(request.app.state.api_key.encode(), f"trainyard session until {until}".encode(), hashlib.sha256).hexdigest()

"""Who asks: a bearer key where one is configured. Keys belong to a project; today there is one key and one project."""

from __future__ import annotations

import hmac

from fastapi import Request

from service.api.problems import Refused

DEFAULT_PROJECT = "default"


async def project_of(request: Request) -> str:
    """The project of the request's key. Raises Refused (401)."""
    key: str | None = request.app.state.api_key
    if key is None:
        return DEFAULT_PROJECT
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key.encode()):
        detail = "Send `Authorization: Bearer <key>` with the service's API key."
        raise Refused(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
    return DEFAULT_PROJECT

"""Answers that are sent smaller to who can read that. For single routes: a middleware would look at every answer of the busiest ones."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

from fastapi import Request, Response

COMPRESSED_FROM = 4096
"""Bytes; what is smaller fits into a few packets as it is."""
LEVEL = 5


def compressed(request: Request, body: bytes, *, media_type: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The body, gzipped where it is worth it and the asker takes it."""
    told = {**(headers or {}), "Vary": "Accept-Encoding"}
    if len(body) > COMPRESSED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        body, told = gzip.compress(body, compresslevel=LEVEL), {**told, "Content-Encoding": "gzip"}
    return Response(body, status_code=status, media_type=media_type, headers=told)

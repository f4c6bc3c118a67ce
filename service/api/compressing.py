"""Answers that are sent smaller to who can read that. For single routes: a middleware would look at every answer of the busiest ones."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fastapi import Request, Response

COMPRESSED_FROM = 4096
"""Bytes; what is smaller fits into a few packets as it is."""
LEVEL = 5


def takes_gzip(request: Request) -> bool:
    """Whether who asks can read it."""
    return "gzip" in request.headers.get("accept-encoding", "")


def compressed(request: Request, body: bytes, *, media_type: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The body, gzipped where it is worth it and the asker takes it."""
    told = {**(headers or {}), "Vary": "Accept-Encoding"}
    if len(body) > COMPRESSED_FROM and takes_gzip(request):
        body, told = gzip.compress(body, compresslevel=LEVEL), {**told, "Content-Encoding": "gzip"}
    return Response(body, status_code=status, media_type=media_type, headers=told)


@dataclass(frozen=True)
class Constant:
    """An answer that is the same until the service is another one: made, compressed and numbered once."""

    body: bytes
    media_type: str

    @cached_property
    def _zipped(self) -> bytes:
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def _etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'

    def answer(self, request: Request) -> Response:
        """The whole, or 304 to who has it."""
        told = {"ETag": self._etag, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == self._etag:
            return Response(status_code=304, headers=told)
        if takes_gzip(request):
            return Response(self._zipped, media_type=self.media_type, headers={**told, "Content-Encoding": "gzip"})
        return Response(self.body, media_type=self.media_type, headers=told)

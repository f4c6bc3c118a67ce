"""A large request body, which is not sent on once the service has answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpcore2


class Sending:
    """A body in chunks, for one request on a connection of its own; `extensions` go with the request.

    A service that refuses an upload says so at once. Without TLS the answer is seen as soon as it lies there; with TLS (where what lies
    there may be the connection's own business) once the service takes no more.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._line: httpcore2.NetworkStream | None = None
        self.extensions = {"trace": self._trace}

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if self._is_answered():
                # httpcore takes this for a connection that takes no more, and reads the answer
                raise httpcore2.WriteError("answered early")
            yield chunk

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._line = info["return_value"]

    def _is_answered(self) -> bool:
        line = self._line
        return line is not None and line.get_extra_info("ssl_object") is None and bool(line.get_extra_info("is_readable"))

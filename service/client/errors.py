"""What can go wrong for a client, as one tree:

ClientError
├── Rejected       the spec has faults (422); each with pointer, sentence, suggestion
├── NotFound       no such job or file (404)
├── Conflict       the job's state does not allow it (409)
├── Unreachable    nobody answers, or only 503, for as long as we tried
├── Corrupt        a download does not have the SHA-256 of its manifest
└── Refused        any other refusal
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """The root; `problem` is the service's problem document, where there is one."""

    exit_code = 1

    def __init__(self, message: str, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = dict(problem or {})


class Rejected(ClientError):
    """The spec has faults."""

    exit_code = 3


class NotFound(ClientError):
    """No such job or file."""

    exit_code = 4


class Conflict(ClientError):
    """The job's state does not allow it."""


class Unreachable(ClientError):
    """Nobody answers."""

    exit_code = 5


class Corrupt(ClientError):
    """A download does not have the SHA-256 of its manifest."""


class Refused(ClientError):
    """Any other refusal."""


def error_of(status: int, problem: Mapping[str, Any]) -> ClientError:
    """The error of an HTTP status."""
    kind = {404: NotFound, 409: Conflict, 422: Rejected, 503: Unreachable}.get(status, Refused)
    return kind(str(problem.get("detail", f"HTTP {status}")), problem)

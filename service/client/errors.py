"""What can go wrong for a client, as one tree:

ClientError
├── Rejected       the spec has faults (422); each with pointer, sentence, suggestion
├── BadRequest     anything else that was asked wrongly (422), or cannot be asked: a bad address, key, cursor or filter
├── NotFound       no such job or file (404)
├── Conflict       the job's state does not allow it (409)
├── Unreachable    nobody answers, or only 503, for as long as we tried
├── NotTrainyard   some other server answers at this address
├── Corrupt        a download does not have the size and SHA-256 of its manifest
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

    @property
    def faults(self) -> list[dict[str, Any]]:
        """What the problem document lists, each with pointer and detail at least."""
        listed = self.problem.get("errors")
        return (
            [each for each in listed if isinstance(each, dict) and {"pointer", "detail"} <= each.keys()] if isinstance(listed, list) else []
        )


class Rejected(ClientError):
    """The spec has faults."""

    exit_code = 3


class BadRequest(ClientError):
    """Asked wrongly, or not to be asked at all."""

    exit_code = 2


class NotFound(ClientError):
    """No such job or file."""

    exit_code = 4


class Conflict(ClientError):
    """The job's state does not allow it."""


class Unreachable(ClientError):
    """Nobody answers; `retry_after` is the seconds that a 503 asked for."""

    exit_code = 5

    def __init__(self, message: str, problem: Mapping[str, Any] | None = None, *, retry_after: float = 0) -> None:
        super().__init__(message, problem)
        self.retry_after = retry_after


class NotTrainyard(ClientError):
    """Some other server answers at this address."""

    exit_code = 5


class Corrupt(ClientError):
    """A download does not have the size and SHA-256 of its manifest."""


class Refused(ClientError):
    """Any other refusal."""


def error_of(status: int, problem: Mapping[str, Any], *, retry_after: float = 0) -> ClientError:
    """The error of an HTTP status; of a 422, the problem's type tells whether it is about a spec."""
    detail = str(problem.get("detail", f"HTTP {status}"))
    if status == 503:
        return Unreachable(detail, problem, retry_after=retry_after)
    about_spec = str(problem.get("type")).endswith("/spec-rejected")
    kind = {404: NotFound, 409: Conflict, 422: Rejected if about_spec else BadRequest}.get(status, Refused)
    return kind(detail, problem)

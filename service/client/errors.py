"""What can go wrong for a client, as one tree:

ClientError
├── Rejected       the spec has faults (422); each with pointer, sentence, suggestion
├── BadRequest     anything else that was asked wrongly (422), or cannot be asked: a bad address, key, cursor or filter
├── NotFound       no such job or file (404)
├── Conflict       the job's state does not allow it (409)
├── QuotaExceeded  the project has all that it may have (429): waiting may not help
├── Unreachable    nobody answers, or only that it is busy (429, 502, 503, 504), for as long as we tried
├── NotTrainyard   some other server answers at this address
├── Corrupt        a download does not have the size and SHA-256 of its manifest
├── JobFailed      a job that was waited for ended, but did not succeed
├── CannotDeclare  a torch object holds what no spec can say
└── Refused        any other refusal
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BUSY = (429, 502, 503, 504)
"""What passes: asked too often, or the service, or what stands before it, is not there at the moment."""


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
    """Nobody answers; `retry_after` is the seconds that a busy service asked for."""

    exit_code = 5

    def __init__(self, message: str, problem: Mapping[str, Any] | None = None, *, retry_after: float = 0) -> None:
        super().__init__(message, problem)
        self.retry_after = retry_after


class QuotaExceeded(ClientError):
    """The project has all that it may have; the message says of what, and what would help."""


class NotTrainyard(ClientError):
    """Some other server answers at this address."""

    exit_code = 5


class Corrupt(ClientError):
    """A download does not have the size and SHA-256 of its manifest."""


class JobFailed(ClientError):
    """The job failed, or was cancelled; `job` is as it ended."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        error = job.get("error") or {}
        why = f": {error['message']} {error.get('hint') or ''}".rstrip() if error else "."
        super().__init__(f"Job {job['id']} {'was cancelled' if job['state'] == 'cancelled' else job['state']}{why}")
        self.job = job


class CannotDeclare(ClientError, ValueError):
    """A torch object holds what no spec can say; the message names its place and the cure."""

    exit_code = 2


class Refused(ClientError):
    """Any other refusal."""


def error_of(status: int, problem: Mapping[str, Any], *, retry_after: float = 0) -> ClientError:
    """The error of an HTTP status; of a 422, the problem's type tells whether it is about a spec."""
    detail = str(problem.get("detail", f"HTTP {status}"))
    if str(problem.get("type")).endswith("/quota-exceeded"):
        return QuotaExceeded(detail, problem)
    if status in BUSY:
        return Unreachable(detail, problem, retry_after=retry_after)
    about_spec = str(problem.get("type")).endswith("/spec-rejected")
    kind = {404: NotFound, 409: Conflict, 422: Rejected if about_spec else BadRequest}.get(status, Refused)
    return kind(detail, problem)

"""How an attempt may end, made of what was seen."""

from __future__ import annotations

from service.jobs.job import JobError
from service.jobs.ports import Outcome
from service.jobs.state import Reason


class Ending(Exception):
    """The attempt ends with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


def failed(code: Reason, message: str, *, hint: str | None = None) -> Outcome:
    """The job cannot succeed."""
    return Outcome(kind="failed", error=JobError(code=code, message=message, hint=hint))


def given_back(reason: Reason, message: str) -> Outcome:
    """The infrastructure ended the attempt; another may do better."""
    return Outcome(kind="give_back", reason=reason, error=JobError(code=reason, message=message))

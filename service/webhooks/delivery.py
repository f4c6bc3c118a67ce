"""One event on its way to one endpoint: what is sent, how the attempts went, what comes after one. Frozen records and plain rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from service.spec.verdict import Record

PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds between attempts, as Standard Webhooks has them: ten attempts over some three days."""
JITTER = 0.1
"""A pause is longer by up to such a share, lest a receiver that comes back is met by all at once."""
LONGEST_PAUSE = 86400.0
"""Whatever Retry-After asks for."""
GONE = 410
LONGEST_AGE = 7 * 86400.0
"""Seconds after which one that failed is not tried again, however few its attempts were: a queue before an endpoint that hangs may be long."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """To be sent, or to be sent again, at `next_attempt_at`. Any API process does; one that dies meanwhile leaves it to the next, after the lease."""

    DELIVERED = "delivered"
    """The endpoint answered with a 2xx."""

    FAILED = "failed"
    """Given up; `reason` says why. Only a replay moves it on."""


class Attempt(Record):
    """One time that it was sent. `status` is the answer's, None where there was none; `error` says what was wrong."""

    at: datetime
    seconds: float
    status: int | None = None
    error: str | None = None


class Facts(Record):
    """What there was to tell of the job at that moment."""

    name: str | None = None
    reason: str | None = None
    attempt: int = 0
    metrics: Mapping[str, float] = Field(default_factory=dict)


class Delivery(Record):
    """One event for one endpoint. `id` is the webhook-id of every attempt, by which a receiver knows what it has seen already."""

    id: str
    project: str
    job_id: str
    url: str
    event: str
    facts: Facts
    created_at: datetime
    state: DeliveryState = DeliveryState.PENDING
    reason: str | None = None
    tries: int = 0
    """Attempts since it was made, or replayed."""
    next_attempt_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    """The last ones, oldest first."""

    def body(self) -> bytes:
        """What is sent, the same in every attempt: small, without spec and secrets."""
        here = f"/v1/jobs/{self.job_id}"
        links = {"self": here, "page": f"/jobs/{self.job_id}"} | {name: f"{here}/{name}" for name in ("events", "metrics", "artifacts")}
        at = self.created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data: dict[str, Any] = {"id": self.job_id, "state": self.event, **self.facts.model_dump(), "links": links}
        return json.dumps({"type": f"job.{self.event}", "timestamp": at, "data": data}, separators=(",", ":")).encode()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of an attempt. `reached` is false where nobody answered HTTP."""

    seconds: float
    status: int | None = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def reached(self) -> bool:
        """Whether somebody answered."""
        return self.status is not None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an attempt means. `after` is the pause before the next one, where it is to be tried again; `gone` ends the endpoint's other deliveries."""

    kind: Literal["delivered", "again", "failed"]
    after: float = 0.0
    reason: str | None = None
    gone: bool = False


def judged(answer: Answer, *, tries: int, age: float = 0.0, pauses: tuple[float, ...] = PAUSES, chance: float) -> Verdict:
    """What comes after the `tries`-th attempt, at an age in seconds; `chance` is from 0 to 1."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Verdict(kind="delivered")
    if answer.status == GONE:
        return Verdict(kind="failed", reason="The endpoint is gone (410): nothing more of this job is sent there.", gone=True)
    if tries > len(pauses):
        return Verdict(kind="failed", reason=f"Given up after {tries} attempts.")
    if age > LONGEST_AGE:
        return Verdict(kind="failed", reason="Given up after a week.")
    pause = max(pauses[tries - 1] * (1 + JITTER * chance), min(answer.retry_after or 0.0, LONGEST_PAUSE))
    return Verdict(kind="again", after=pause)

"""What telling others needs of the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.webhooks.delivery import Answer, Attempt, Delivery, Verdict


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A delivery that is ours to send until the lease ends; without its earlier attempts."""

    delivery: Delivery
    lease: int
    """When it ends, in ms; also the name of this lease."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Deliveries of a project, and to an endpoint, that are sent at a time, by all API processes together."""

    project: int = 6
    endpoint: int = 3
    unreachable: int = 1
    """To an endpoint that nobody answered at last."""


class Outbox(Protocol):
    """What is to be told. The moves of jobs fill it, in the same step as they are made. All methods raise StoreUnavailable."""

    def take(self, *, lease_seconds: float, limits: Limits) -> Taken | None:
        """The delivery that is due the longest, of the project with the fewest under way; None where nothing is due."""

    def settle(self, taken: Taken, attempt: Attempt, verdict: Verdict) -> bool:
        """Record an attempt, and what comes after it. False, and nothing is done, where the lease has ended and another one was given."""

    def of(self, project: str, job_id: str) -> Sequence[Delivery]:
        """A job's deliveries, oldest first. Raises JobNotFound."""

    def replay(self, project: str, job_id: str, delivery_id: str) -> Delivery:
        """Send it again, now, and as often as a new one. Raises JobNotFound, DeliveryNotFound."""


@dataclass(frozen=True, kw_only=True)
class Secret:
    """What a project's webhooks are signed with: also with the previous one, until it has ended."""

    current: str
    previous: str | None = None
    previous_until: datetime | None = None

    @property
    def keys(self) -> Sequence[str]:
        """All that sign now."""
        return (self.current, self.previous) if self.previous else (self.current,)


class Secrets(Protocol):
    """A secret for each project, made when it is first asked for. Raises StoreUnavailable."""

    def of(self, project: str) -> Secret:
        """The one that holds now."""

    def rotate(self, project: str) -> Secret:
        """A new one; the old one signs beside it for a day."""


class Post(Protocol):
    """Sends. Never raises for what goes wrong on the way: that is an answer, too."""

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST, once: no redirect is followed, nothing is reached that must not be."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What is known of where a URL leads. `refusal` says why it must not be reached; `resolved` whether its name has an address now."""

    refusal: str | None = None
    resolved: bool = True


class Reach(Protocol):
    """Looks where URLs lead, before anything is sent there."""

    def look(self, urls: Sequence[str]) -> Sequence[Looked]:
        """For each, within a few seconds."""

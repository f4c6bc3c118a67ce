"""What sweepers do behind the others, and whoever brings records back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from service.jobs.job import Device, Job
from service.jobs.ports.workers import Demand
from service.jobs.steps import Step


class Housekeeping(Protocol):
    """What sweepers do. Harmless when many run at once."""

    def expire(self) -> Sequence[str]:
        """Give back (or end) every job whose lease has died; returns their ids. Does nothing right after a gap in sweeping."""

    def demand(self) -> Mapping[Device, Demand]:
        """How many jobs wait and how many slots are idle, per class."""

    def unsaved(self, limit: int) -> Sequence[Job]:
        """Jobs whose record in S3 is older than the one here."""

    def saved(self, job: Job) -> None:
        """The record was written; the live tail of a terminal job expires within the hour. That of a job deleted meanwhile goes again."""


class Disposal(Protocol):
    """Whose objects are no longer needed. Each job comes up twice, the second time for what a slow writer added."""

    def deleted(self, limit: int) -> Sequence[tuple[str, str]]:
        """(project, id) of deleted jobs whose objects are to be removed now."""

    def erased(self, project: str, job_id: str) -> None:
        """They were."""

    def littered(self, limit: int) -> Sequence[tuple[str, str]]:
        """(project, id) of ended jobs among whose objects leftovers are to be looked for now."""

    def collected(self, project: str, job_id: str) -> None:
        """They were looked for, and removed."""

    def litter(self, project: str, job_id: str) -> None:
        """A fenced attempt may have left something: look again once the job has ended, or at once if it has.

        Of a job that is not here, nor was deleted, nothing is removed: Redis was lost, and storage has all that is left.
        """


@dataclass(frozen=True)
class IdempotencyKey:
    """What a client called one submission, by whose name a repeated one is answered."""

    project: str
    key: str
    job_id: str
    body_sha256: str
    until: float
    """When it is forgotten: seconds since 1970."""


class Rebuilding(Protocol):
    """Putting records back after Redis was lost."""

    def is_empty(self) -> bool:
        """Whether there is no job."""

    def idempotency_keys(self) -> Sequence[IdempotencyKey]:
        """All that are not forgotten yet: the only thing that storage never hears of."""

    def restore_idempotency_keys(self, keys: Sequence[IdempotencyKey]) -> None:
        """Put them back, but for those that are here and those whose time is over."""

    def restore(self, job: Job, *, rows: Sequence[Mapping[str, Any]], steps: Sequence[Step] = ()) -> bool:
        """Store the record unless one is here; one that ran waits again. False where there was nothing to do."""

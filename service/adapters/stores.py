"""What every adapter of the stores shares: their bundle, the caps of live tails. No vendor and no storage here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from service.access.audit import AuditLog
from service.access.keys import Project
from service.access.ports import AccessStore, Accounts, Rates
from service.access.principal import DEFAULT_PROJECT
from service.datasets.ports import DatasetStore
from service.jobs.job import NEWER_SPEC, Exactness, JobError
from service.jobs.ports import (
    ArtifactStore,
    AttemptStore,
    Changes,
    Disposal,
    Doorbell,
    FactLog,
    Housekeeping,
    Intake,
    JobStore,
    Monitor,
    Outcome,
    Rebuilding,
    Requests,
    Stamps,
    WorkerRegistry,
)
from service.jobs.state import Reason
from service.spec.training import MOST_LOGGED
from service.spec.verdict import SpecWarning
from service.sweeping import Sweeper
from service.webhooks.ports import Outbox, Secrets

EVENTS_KEPT = 10_000
ROWS_KEPT = 100_000
STEPS_KEPT = MOST_LOGGED
WORKED_KEPT = 20
"""Attempts of each worker."""
LOGS_KEPT = 10_000
AGAIN_LEASES = 10
"""After so many leases leftovers are looked for a second time: whoever wrote late has heard by then that it is fenced."""
PASSES = 2
"""How often leftovers, and the objects of a deleted job, are looked for."""
IDEMPOTENCY_SECONDS = 24 * 3600
TAIL_SECONDS = 3600
"""How long events, rows and logs stay in the store after they were saved to storage."""
DELIVERIES_KEPT = 200
"""Of a job that moves more often, only the end is told."""
DELIVERY_SECONDS = 30 * 24 * 3600
"""How long a delivery is shown, and can be replayed, after it was settled."""
UNREACHABLE_SECONDS = 3600
SECRET_OVERLAP_SECONDS = 24 * 3600
"""How long a rotated secret signs beside the new one."""
SILENCE_SECONDS = 30
"""A worker that says nothing for so long is forgotten."""
AUDIT_KEPT = 50_000
"""Entries of the audit log; storage has all of it."""
ALWAYS_THERE = Project(name=DEFAULT_PROJECT, description="Where nobody names another.", created_at=datetime.fromtimestamp(0, UTC))
SWEEP_SECONDS = 5.0
"""How often sweepers call `expire`; twice as long without a call is a gap."""


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Every port that one store stands behind. `ping` raises StoreUnavailable; so does `admit`, and NewerFormat where this code is too old for it."""

    jobs: JobStore
    intake: Intake
    stamps: Stamps
    requests: Requests
    attempts: AttemptStore
    facts: FactLog
    housekeeping: Housekeeping
    disposal: Disposal
    rebuilding: Rebuilding
    datasets: DatasetStore
    workers: WorkerRegistry
    access: AccessStore
    accounts: Accounts
    audit: AuditLog
    rates: Rates
    outbox: Outbox
    secrets: Secrets
    changes: Changes
    monitor: Monitor
    admit: Callable[[], None]
    ping: Callable[[], None]
    close: Callable[[], None]

    def sweeper(self, *, artifacts: ArtifactStore, doorbell: Doorbell) -> Sweeper:
        """Who keeps house with these stores."""
        return Sweeper(
            jobs=self.jobs,
            housekeeping=self.housekeeping,
            disposal=self.disposal,
            datasets=self.datasets,
            facts=self.facts,
            access=self.access,
            accounts=self.accounts,
            audit=self.audit,
            artifacts=artifacts,
            doorbell=doorbell,
        )


def retries_used_up(reason: Reason) -> JobError:
    """Why a job failed that was given back more often than `max_retries` allows."""
    return JobError(
        code=reason,
        message=f"The attempt ended ({reason.value}) and no retries are left.",
        hint="Retries count since the last checkpoint: raise resources.max_retries, or checkpoint more often.",
    )


@cache
def newer_spec(understood: int) -> SpecWarning:
    """What a job says that a worker has left to newer ones."""
    return SpecWarning(
        code=NEWER_SPEC,
        detail=f"A worker that understands specs up to version {understood} has left this job to a newer worker.",
        suggestion="Upgrade the workers: `trainyard workers` names their versions. The job starts as soon as a newer one has a slot.",
    )


def failure(outcome: Outcome) -> JobError | None:
    """The error that the job carries, should this outcome fail it."""
    match outcome.kind:
        case "failed":
            return outcome.error or JobError(code=outcome.reason or Reason.INTERNAL, message="The attempt failed and did not say why.")
        case "give_back":
            error = outcome.error or retries_used_up(outcome.reason or Reason.INTERNAL)
            return error.model_copy(update={"code": outcome.reason or error.code})
        case _:
            return None


def reason_of(outcome: Outcome) -> str:
    """Why the attempt ended, "" where there is nothing to say."""
    error = failure(outcome)
    return outcome.reason or (error.code if error else "")


def exactness(reasons: Iterable[str]) -> Exactness:
    """The record of why weights are not exact, each reason once; of none, that they are."""
    return Exactness.model_validate({"exact": not (known := tuple(dict.fromkeys(reasons))), "reasons": known})


def rfc3339(at: datetime) -> str:
    """The time as events carry it: UTC, milliseconds, Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_ms(ms: float) -> datetime:
    """The time of so many milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return math.floor(at.timestamp() * 1000)


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without NaN and infinity, which JSON has no word for."""
    return {name: value for name, value in values.items() if not (isinstance(value, float) and not math.isfinite(value))}

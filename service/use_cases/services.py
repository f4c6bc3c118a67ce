"""Every collaborator of the use cases, as one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from service.access.ports import Accounts
from service.datasets.ports import DatasetStore, Inspector, LocalData, Spool
from service.jobs.job import Device
from service.jobs.ports import ArtifactStore, FactLog, Intake, JobStore, Links, Predictor, Preflight, Requests, WorkerRegistry
from service.use_cases.judging import Judgements
from service.use_cases.outlooks import Outlooks
from service.webhooks.ports import Outbox, Reach, Secrets


class Ring(Protocol):
    """Says that a job waits for an idle slot: of this class, or of one that the caller does not know."""

    def __call__(self, device: Device | None = None, /) -> None:
        """Never blocks."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """Every collaborator of the use cases."""

    jobs: JobStore
    intake: Intake
    requests: Requests
    facts: FactLog
    artifacts: ArtifactStore
    links: Links | None
    """None where users do not reach storage themselves."""
    preflight: Preflight
    workers: WorkerRegistry
    accounts: Accounts
    datasets: DatasetStore
    local_data: LocalData
    inspector: Inspector
    predictor: Predictor
    spool: Spool
    outbox: Outbox
    secrets: Secrets
    reach: Reach | None
    """None where no webhooks are sent."""
    threads: int
    """Of a job that names none."""
    ring: Ring
    """Wakes whoever rings the doorbell; never blocks."""
    tell: Callable[[], None]
    """Wakes whoever sends webhooks; never blocks."""
    look: Callable[[], None]
    """Wakes whoever looks at uploads; never blocks."""
    look_seconds: float
    """Whoever looks at an upload says so as often as a third of it; after so much silence another one does."""
    upload_bytes: int
    """The most that one upload may have."""
    now: Callable[[], datetime]
    judgements: Judgements = field(default_factory=Judgements)
    outlooks: Outlooks = field(default_factory=Outlooks)

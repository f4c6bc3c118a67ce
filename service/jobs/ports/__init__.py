"""The ports: what use cases and workers need from the outside, as small Protocols, by who uses them. Adapters live in `service/adapters`."""

from __future__ import annotations

from service.jobs.ports.artifacts import ArtifactStore, Stored
from service.jobs.ports.attempts import AttemptStore, Claim, FactLog, Flags, Outcome, Report
from service.jobs.ports.changes import Changes, Watch
from service.jobs.ports.children import Fetch, Predictor, Preflight, Question
from service.jobs.ports.housekeeping import Disposal, Housekeeping, Rebuilding
from service.jobs.ports.jobs import NONE, Ahead, Idempotency, Intake, JobStore, Outlook, Page, Queue, Requests, Submitted
from service.jobs.ports.workers import Demand, Doorbell, GpuLoad, Worked, WorkerBeat, WorkerRegistry

__all__ = [
    "NONE",
    "Ahead",
    "ArtifactStore",
    "AttemptStore",
    "Changes",
    "Claim",
    "Demand",
    "Disposal",
    "Doorbell",
    "FactLog",
    "Fetch",
    "Flags",
    "GpuLoad",
    "Housekeeping",
    "Idempotency",
    "Intake",
    "JobStore",
    "Outcome",
    "Outlook",
    "Page",
    "Predictor",
    "Preflight",
    "Question",
    "Queue",
    "Rebuilding",
    "Report",
    "Requests",
    "Stored",
    "Submitted",
    "Watch",
    "Worked",
    "WorkerBeat",
    "WorkerRegistry",
]

"""The ports: what use cases and workers need from the outside, as small Protocols, by who uses them. Adapters live in `service/adapters`."""

from __future__ import annotations

from service.jobs.ports.artifacts import ArtifactStore, Links, Stored
from service.jobs.ports.attempts import AttemptStore, Claim, FactLog, Flags, Outcome, Report, TailPart
from service.jobs.ports.changes import Changes, Watch
from service.jobs.ports.children import Fetch, Predictor, Preflight, PreflightLoad, Question
from service.jobs.ports.housekeeping import Disposal, Housekeeping, IdempotencyKey, Rebuilding
from service.jobs.ports.jobs import NONE, Ahead, Idempotency, Intake, JobStore, Outlook, Page, Queue, Requests, Stamp, Stamps, Submitted
from service.jobs.ports.standing import WITHIN_SECONDS, Line, Monitor, Standing
from service.jobs.ports.workers import Demand, Doorbell, GpuLoad, Worked, WorkerBeat, WorkerRegistry

__all__ = [
    "NONE",
    "WITHIN_SECONDS",
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
    "IdempotencyKey",
    "Intake",
    "JobStore",
    "Line",
    "Links",
    "Monitor",
    "Outcome",
    "Outlook",
    "Page",
    "Predictor",
    "Preflight",
    "PreflightLoad",
    "Question",
    "Queue",
    "Rebuilding",
    "Report",
    "Requests",
    "Stamp",
    "Stamps",
    "Standing",
    "Stored",
    "Submitted",
    "TailPart",
    "Watch",
    "Worked",
    "WorkerBeat",
    "WorkerRegistry",
]

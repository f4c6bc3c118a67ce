"""Steps that many stories of jobs begin with."""

from __future__ import annotations

from collections.abc import Callable

from service.adapters.stores import Stores
from service.jobs.job import Job
from service.jobs.ports import Claim, Idempotency, Outcome

NewJob = Callable[..., Job]
SUCCEEDED = Outcome(kind="succeeded")


def submit(stores: Stores, job: Job, key: str | None = None, body: str = "b" * 64) -> Job:
    """Submit, and hand back the job as stored."""
    return stores.jobs.submit(job, idempotency=Idempotency(key=key, body_sha256=body) if key else None).job


def claim(stores: Stores, worker: str = "w1") -> Claim:
    """Claim on a CPU worker a job that must be there."""
    taken = stores.attempts.claim(worker=worker, device="cpu")
    assert taken is not None
    return taken

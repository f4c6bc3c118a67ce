"""Twins of every store, in memory: the same manners, made of Job's own methods. For tests, for reading what the Lua calls mean, and for the one job of `trainyard run`."""

from __future__ import annotations

from datetime import timedelta

from service.access.quota import NO_QUOTA, Quota
from service.adapters.memory.access import MemoryAccess, MemoryAudit, MemoryRates
from service.adapters.memory.accounts import MemoryAccounts
from service.adapters.memory.attempts import MemoryAttempts, MemoryFacts
from service.adapters.memory.datasets import MemoryDatasets
from service.adapters.memory.housekeeping import MemoryDisposal, MemoryHousekeeping, MemoryRebuilding
from service.adapters.memory.jobs import MemoryIntake, MemoryJobs, MemoryRequests, MemoryStamps
from service.adapters.memory.monitor import MemoryMonitor
from service.adapters.memory.others import MemoryArtifacts, MemoryChanges, MemoryDoorbell, MemoryWorkers
from service.adapters.memory.outbox import MemoryOutbox, MemorySecrets
from service.adapters.memory.shelf import Clock, Shelf
from service.adapters.stores import AGAIN_LEASES, SWEEP_SECONDS, Stores

__all__ = ["MemoryArtifacts", "MemoryDoorbell", "stores"]


def stores(*, now: Clock, lease_seconds: float = 60, sweep_seconds: float = SWEEP_SECONDS, quota: Quota = NO_QUOTA) -> Stores:
    """Every store, empty, on one clock."""
    shelf = Shelf(now=now, lease=timedelta(seconds=lease_seconds), sweep=timedelta(seconds=sweep_seconds), common=quota)
    workers = MemoryWorkers(shelf)
    jobs = MemoryJobs(shelf, workers)
    return Stores(
        jobs=jobs,
        intake=MemoryIntake(jobs),
        stamps=MemoryStamps(jobs),
        requests=MemoryRequests(shelf),
        attempts=MemoryAttempts(shelf),
        facts=MemoryFacts(shelf),
        housekeeping=MemoryHousekeeping(shelf, workers),
        disposal=MemoryDisposal(shelf, again=timedelta(seconds=AGAIN_LEASES * lease_seconds)),
        rebuilding=MemoryRebuilding(shelf),
        datasets=MemoryDatasets(shelf),
        workers=workers,
        access=MemoryAccess(shelf),
        accounts=MemoryAccounts(shelf),
        audit=MemoryAudit(shelf),
        rates=MemoryRates(shelf),
        outbox=MemoryOutbox(shelf),
        secrets=MemorySecrets(shelf),
        changes=MemoryChanges(shelf.waiters),
        monitor=MemoryMonitor(shelf, workers),
        admit=lambda: None,
        ping=lambda: None,
        close=lambda: None,
    )

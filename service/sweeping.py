"""What keeps jobs moving when nobody asks: dead leases given back, records saved, idle workers woken. Harmless when many run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from service.access.audit import AuditLog
from service.access.ports import Accounts, Safekeeping
from service.access.quota import of_dataset, of_job
from service.collecting import collect, erase, erase_dataset
from service.datasets.ports import DatasetStore
from service.jobs.errors import JobNotFound
from service.jobs.job import Job
from service.jobs.layout import events_key, logs_key, metrics_key, record_key, steps_key
from service.jobs.ports import ArtifactStore, Disposal, Doorbell, FactLog, Housekeeping, JobStore
from service.jobs.rows import json_lines
from service.killpoints import KillPoint, passing
from service.safekeeping import save_access, save_audit

AT_ONCE = 50
"""Jobs of a kind that one round takes up."""


@dataclass(frozen=True, kw_only=True)
class Sweeper:
    """One of many that keep house."""

    jobs: JobStore
    housekeeping: Housekeeping
    disposal: Disposal
    datasets: DatasetStore
    facts: FactLog
    access: Safekeeping
    accounts: Accounts
    audit: AuditLog
    artifacts: ArtifactStore
    doorbell: Doorbell

    def sweep(self) -> None:
        """One round. Raises Unavailable where a part does not answer; the next round does what this one could not."""
        self.housekeeping.expire()
        self.ring()
        save_access(store=self.access, artifacts=self.artifacts)
        self.save()
        self.dispose()
        save_audit(audit=self.audit, artifacts=self.artifacts, now=datetime.now(tz=UTC))

    def ring(self) -> None:
        """Wake as many idle slots as there is work for, per class."""
        for device, demand in self.housekeeping.demand().items():
            if times := min(demand.waiting, demand.idle):
                passing(KillPoint.BEFORE_RING)
                self.doorbell.ring(device, times=times)

    def save(self) -> None:
        """Write every unsaved record to storage, its metric rows and logged steps before it; with an ended job goes its whole live tail."""
        for job in self.housekeeping.unsaved(AT_ONCE):
            with suppress(JobNotFound):  # deleted just now: what is written here goes with the rest
                self._save_tail(job)
            self.artifacts.put_bytes(record_key(job.project, job.id), job.model_dump_json().encode())
            passing(KillPoint.RECORD_PUT)
            self.housekeeping.saved(job)

    def dispose(self) -> None:
        """Remove the objects of deleted jobs and data sets, and what attempts of ended ones left behind."""
        for project, job_id in self.disposal.deleted(AT_ONCE):
            erase(project, job_id, artifacts=self.artifacts)
            self.accounts.charge(project, of_job(job_id), 0)
            self.disposal.erased(project, job_id)
        for project, job_id in self.disposal.littered(AT_ONCE):
            with suppress(JobNotFound):  # deleted just now: all of it goes
                size = collect(self.jobs.find(project, job_id), artifacts=self.artifacts)
                self.accounts.charge(project, of_job(job_id), size)
            self.disposal.collected(project, job_id)

        for project, *place in self.datasets.removed(AT_ONCE):
            erase_dataset(project, *place, artifacts=self.artifacts)
            self.accounts.charge(project, of_dataset(*place), 0)
            self.datasets.erased(project, *place)

    def _save_tail(self, job: Job) -> None:
        place = (job.project, job.id)
        rows = self.facts.lines(*place, "rows")
        if rows is None:  # it was saved before, and the tail has expired since
            return
        if rows:
            self.artifacts.put_bytes(metrics_key(*place), rows, content_type="application/jsonl")
        if steps := self.facts.lines(*place, "steps"):
            self.artifacts.put_bytes(steps_key(*place), steps, content_type="application/jsonl")
        if job.is_terminal:
            events = self.facts.events(*place, after=0, limit=100_000) or ()
            self.artifacts.put_bytes(events_key(*place), json_lines(events), content_type="application/jsonl")
            logs = "".join(f"{line}\n" for line in self.facts.logs(*place) or ())
            self.artifacts.put_bytes(logs_key(*place), logs.encode(), content_type="text/plain; charset=utf-8")

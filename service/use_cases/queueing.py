"""What waits and what works: the queue of a project, class by class, and the workers with what they have been at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.jobs.errors import JobNotFound
from service.jobs.estimating import starts
from service.jobs.job import Device, Job
from service.jobs.ports import Worked, WorkerBeat
from service.use_cases.services import Services

SHOWN = 50
"""Waiting jobs of a class that are told."""
DEVICES: tuple[Device, ...] = ("cpu", "gpu")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A class of machines as a project sees it: its own jobs that wait and run; all slots, and those that are idle."""

    device: Device
    waiting: int
    running: int
    slots: int
    idle: int
    jobs: Sequence[tuple[Job, datetime | None]]
    """The first that wait, in their order, with the time when each is expected to start, where that can be said."""


def queue(project: str, *, services: Services) -> Sequence[Waiting]:
    """Every class."""
    workers = services.workers.workers()
    return [_waiting(project, device, [each for each in workers if each.device == device], services) for device in DEVICES]


def _waiting(project: str, device: Device, workers: Sequence[WorkerBeat], services: Services) -> Waiting:
    found, slots = services.jobs.queue(project, device, limit=SHOWN), sum(worker.slots for worker in workers)
    limited = min(slots, found.most or slots) if found.alone else 0
    now, seconds = services.now(), starts(slots=limited, running=found.running, waiting=found.jobs)
    return Waiting(
        device=device,
        waiting=found.waiting,
        running=len(found.running),
        slots=slots,
        idle=sum(max(0, worker.slots - worker.busy) for worker in workers),
        jobs=[(job, None if after is None else now + timedelta(seconds=after)) for job, after in zip(found.jobs, seconds, strict=True)],
    )


def own_jobs(project: str, ids: Sequence[str], *, services: Services) -> Sequence[Job]:
    """Those that are the project's: whose the others are is nobody's business."""
    found = []
    for job_id in ids:
        with suppress(JobNotFound):
            found.append(services.jobs.find(project, job_id))
    return found


def workers(project: str, *, services: Services) -> Sequence[tuple[WorkerBeat, Sequence[Worked]]]:
    """Live workers, by name, with the project's jobs that each worked on of late, the newest first."""
    live = services.workers.workers()
    history: Mapping[str, Sequence[Worked]] = services.workers.history(project, [worker.name for worker in live])
    return [(worker, history[worker.name]) for worker in live]

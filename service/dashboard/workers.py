"""The page of who works and what waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request, Response

from service import use_cases
from service.api.auth import reading
from service.api.dressing import dressed
from service.api.parts import Project, Used
from service.api.views import JobView
from service.dashboard.pages import page
from service.dashboard.routing import pages
from service.jobs.ports import Worked, WorkerBeat
from service.use_cases import Services

router = pages()


@dataclass(frozen=True, kw_only=True)
class AtWork:
    """A live worker: what it is busy with now, how many jobs of others, and what it was at before."""

    beat: WorkerBeat
    jobs: Sequence[JobView]
    others: int
    history: Sequence[Worked]


@router.get("/workers", dependencies=[Depends(reading)])
def workers_page(request: Request, project: Project, services: Used) -> Response:
    """Who works, what waits."""
    return page("workers/index.html", request, **_told(project, services))


@router.get("/ui/workers", dependencies=[Depends(reading)])
def workers_part(request: Request, project: Project, services: Used) -> Response:
    """The same as it is now."""
    return page("workers/list.html", request, **_told(project, services))


def _told(project: str, services: Services) -> Mapping[str, Any]:
    workers = [_at_work(project, beat, history, services) for beat, history in use_cases.workers(project, services=services)]
    queues = use_cases.queue(project, services=services)
    return {
        "workers": workers,
        "queues": [each for each in queues if each.slots or each.waiting],
        "slots": sum(each.beat.slots for each in workers),
        "busy": sum(each.beat.busy for each in workers),
        "waiting": sum(each.waiting for each in queues),
    }


def _at_work(project: str, beat: WorkerBeat, history: Sequence[Worked], services: Services) -> AtWork:
    jobs = [dressed(job, services, alone=False) for job in use_cases.own_jobs(project, beat.jobs, services=services)]
    now = {job.id for job in jobs}
    before = [each for each in history if each.ended_at is not None or each.id not in now]
    return AtWork(beat=beat, jobs=jobs, others=len(beat.jobs) - len(jobs), history=before)

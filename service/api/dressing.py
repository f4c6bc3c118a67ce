"""A job with what only the stores around it know: where it stands in the queue, and when it will start."""

from __future__ import annotations

from fastapi import Response
from pydantic import BaseModel

from service import use_cases
from service.api.views import JobView, job_view
from service.jobs.job import Job
from service.jobs.state import JobState
from service.use_cases import Services


def dressed(job: Job, services: Services, *, position: int | None = None, alone: bool = True) -> JobView:
    """Alone, a waiting job also says when it is expected to start: in a list that would read the queue once for each."""
    if position is None and job.state is JobState.QUEUED:
        position = services.jobs.position(job)
    return job_view(job, position=position, start=use_cases.estimated_start(job, position=position, services=services) if alone else None)


def written(view: BaseModel) -> Response:
    """The view as JSON. What is made of records is right already: FastAPI would check it once more."""
    return Response(view.model_dump_json(), media_type="application/json")

"""The endpoints that tell of the installation: who works, what waits, what is kept, what can be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache, partial
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from service import use_cases
from service.api.auth import reading
from service.api.compressing import Constant
from service.api.dressing import written
from service.api.examples import examples
from service.api.parts import Apart, Project, Used
from service.api.problems import responses
from service.api.shortcuts import Chosen, Shortcut, asked
from service.jobs.job import Device, Job
from service.jobs.ports import Worked, WorkerBeat
from service.jobs.state import JobState
from service.spec import catalog
from service.spec.job import JobSpec
from service.tidying import Usage

router = APIRouter(prefix="/v1", responses=responses(401, 403, 422, 503))


class WorkedView(BaseModel):
    """One attempt of a worker: `state` is the job's as it is now, `ended` null while the attempt holds it."""

    id: str
    name: str | None
    state: JobState
    started: datetime
    ended: datetime | None


class GpuView(BaseModel):
    """A GPU and how busy it was at the worker's last look, some seconds ago; null what the driver cannot tell."""

    index: int
    name: str
    memory_bytes: int | None
    memory_used_bytes: int | None
    utilisation_percent: int | None


class WorkerView(BaseModel):
    """A live worker, what it is busy with, and its last attempts (at most 20, the newest first), which are forgotten with it."""

    name: str
    device: Device
    device_name: str | None
    memory_bytes: int | None
    last_beat_at: datetime | None
    """It is forgotten half a minute after."""
    slots: int
    busy: int
    """Slots, whosever jobs they have."""
    threads: int
    versions: dict[str, str]
    jobs: list[str]
    """The project's own."""
    gpus: list[GpuView]
    job_gpus: int = Field(description="The most GPUs that it can give to one job; of a CPU's worker it means nothing.")
    history: list[WorkedView]


class WorkerList(BaseModel):
    """Live workers, by name."""

    data: list[WorkerView]


@router.get("/workers", dependencies=[Depends(reading)], response_model=WorkerList, tags=["who works"])
def get_workers(project: Project, services: Used) -> Response:
    """Live workers: what each is, what it is busy with, what it worked on of late."""
    found = use_cases.workers(project, services=services)
    views = [_worker(beat, use_cases.own_jobs(project, beat.jobs, services=services), history) for beat, history in found]
    return written(WorkerList(data=views))


def _worker(beat: WorkerBeat, jobs: Sequence[Job], history: Sequence[Worked]) -> WorkerView:
    told = [WorkedView(id=each.id, name=each.name, state=each.state, started=each.started_at, ended=each.ended_at) for each in history]
    return WorkerView(**{**asdict(beat), "last_beat_at": beat.at, "jobs": [job.id for job in jobs], "history": told})


class WaitingJob(BaseModel):
    """A job that waits: `position` from 1, and when it is expected to start, where all before it have an estimate."""

    id: str
    name: str | None
    position: int
    priority: int
    created_at: datetime
    estimated_start_at: datetime | None


class ClassView(BaseModel):
    """One class of machines: the project's jobs that wait and run there, the first 50 that wait; all slots, and those that are idle."""

    device: Device
    waiting: int
    running: int
    slots: int
    idle: int
    jobs: list[WaitingJob]


class QueueView(BaseModel):
    """Every class."""

    data: list[ClassView]


@router.get("/queue", dependencies=[Depends(reading)], response_model=QueueView, tags=["who works"])
def get_queue(project: Project, services: Used) -> Response:
    """What waits, in its order, and who could take it."""
    return written(QueueView(data=[_class(each) for each in use_cases.queue(project, services=services)]))


def _class(each: use_cases.Waiting) -> ClassView:
    jobs = [
        WaitingJob(id=job.id, name=job.name, position=position, priority=job.priority, created_at=job.created_at, estimated_start_at=start)
        for position, (job, start) in enumerate(each.jobs, 1)
    ]
    return ClassView(device=each.device, waiting=each.waiting, running=each.running, slots=each.slots, idle=each.idle, jobs=jobs)


@router.get("/storage", dependencies=[Depends(reading)], tags=["who works"])
async def get_storage(project: Project, services: Used, rooms: Apart) -> dict[str, Usage]:
    """What the project's jobs and data sets take in storage. Slow where there are many: everything is listed."""
    return await rooms.moving.run(use_cases.usage, project, artifacts=services.artifacts)


@router.get("/catalog", dependencies=[Depends(reading)], response_model=dict[str, Any], tags=["what can be said"])
async def get_catalog(request: Request) -> Response:
    """Everything that a spec can declare: arguments, types, defaults, help."""
    return _catalog().answer(request)


@router.get("/examples", dependencies=[Depends(reading)], response_model=dict[str, Any], tags=["what can be said"])
async def get_examples(request: Request) -> Response:
    """Specs that run as they are."""
    return _examples().answer(request)


class SchemaResponse(Response):
    """A JSON Schema."""

    media_type = "application/schema+json"


@router.get(
    "/schema/job.json",
    dependencies=[Depends(reading)],
    response_class=SchemaResponse,
    responses={200: {"content": {SchemaResponse.media_type: {"schema": {"type": "object"}}}}},
    tags=["what can be said"],
)
def get_schema(request: Request) -> Response:
    """The JSON Schema of a job spec."""
    return _schema().answer(request)


@cache
def _catalog() -> Constant:
    return Constant(to_json(catalog.load()), "application/json")


@cache
def _examples() -> Constant:
    return Constant(to_json(examples()), "application/json")


@cache
def _schema() -> Constant:
    return Constant(to_json(JobSpec.model_json_schema()), "application/schema+json")


async def _workers_asked(request: Request, chosen: Chosen) -> Response:
    who = await asked(request, chosen)
    found: Response = await request.app.state.readings.once(("workers", who.project), partial(get_workers, who.project, who.services))
    return found


async def _queue_asked(request: Request, chosen: Chosen) -> Response:
    who = await asked(request, chosen)
    found: Response = await request.app.state.readings.once(("queue", who.project), partial(get_queue, who.project, who.services))
    return found


SHORTCUTS = (Shortcut("/v1/queue", _queue_asked), Shortcut("/v1/workers", _workers_asked))

"""The endpoints that tell of the installation: who works, what waits, what is kept, what can be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from service import use_cases
from service.api.auth import project_of
from service.api.compressing import Constant
from service.api.examples import examples
from service.api.parts import Apart, Project, Used
from service.api.problems import responses
from service.jobs.job import Device
from service.jobs.ports import Worked, WorkerBeat
from service.jobs.state import JobState
from service.spec import catalog
from service.spec.job import JobSpec
from service.tidying import Usage

router = APIRouter(prefix="/v1", responses=responses(401, 422, 503), dependencies=[Depends(project_of)])


class WorkedView(BaseModel):
    """One attempt of a worker: `state` is the job's as it is now, `ended` null while the attempt holds it."""

    id: str
    name: str | None
    state: JobState
    started: datetime
    ended: datetime | None


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
    threads: int
    versions: dict[str, str]
    jobs: list[str]
    history: list[WorkedView]


class WorkerList(BaseModel):
    """Live workers, by name."""

    data: list[WorkerView]


@router.get("/workers", response_model=WorkerList, tags=["who works"])
def get_workers(project: Project, services: Used) -> WorkerList:
    """Live workers: what each is, what it is busy with, what it worked on of late."""
    return WorkerList(data=[_worker(beat, history) for beat, history in use_cases.workers(project, services=services)])


def _worker(beat: WorkerBeat, history: Sequence[Worked]) -> WorkerView:
    told = [WorkedView(id=each.id, name=each.name, state=each.state, started=each.started_at, ended=each.ended_at) for each in history]
    return WorkerView(**{**asdict(beat), "last_beat_at": beat.at, "history": told})


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


@router.get("/queue", response_model=QueueView, tags=["who works"])
def get_queue(project: Project, services: Used) -> QueueView:
    """What waits, in its order, and who could take it."""
    return QueueView(data=[_class(each) for each in use_cases.queue(project, services=services)])


def _class(each: use_cases.Waiting) -> ClassView:
    jobs = [
        WaitingJob(id=job.id, name=job.name, position=position, priority=job.priority, created_at=job.created_at, estimated_start_at=start)
        for position, (job, start) in enumerate(each.jobs, 1)
    ]
    return ClassView(device=each.device, waiting=each.waiting, running=each.running, slots=each.slots, idle=each.idle, jobs=jobs)


@router.get("/storage", tags=["who works"])
async def get_storage(project: Project, services: Used, rooms: Apart) -> dict[str, Usage]:
    """What the project's jobs and data sets take in storage. Slow where there are many: everything is listed."""
    return await rooms.moving.run(use_cases.usage, project, artifacts=services.artifacts)


@router.get("/catalog", response_model=dict[str, Any], tags=["what can be said"])
async def get_catalog(request: Request) -> Response:
    """Everything that a spec can declare: arguments, types, defaults, help."""
    return _catalog().answer(request)


@router.get("/examples", response_model=dict[str, Any], tags=["what can be said"])
async def get_examples(request: Request) -> Response:
    """Specs that run as they are."""
    return _examples().answer(request)


class SchemaResponse(Response):
    """A JSON Schema."""

    media_type = "application/schema+json"


@router.get("/schema/job.json", response_class=SchemaResponse, tags=["what can be said"])
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

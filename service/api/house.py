"""The endpoints that tell of the installation: who works, what waits, what is kept, what can be said."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from service import use_cases
from service.api.auth import project_of
from service.api.examples import examples
from service.api.parts import Project, Used
from service.api.problems import responses
from service.spec import catalog
from service.spec.job import JobSpec
from service.tidying import Usage

router = APIRouter(prefix="/v1", responses=responses(401, 503), dependencies=[Depends(project_of)])


@router.get("/workers", tags=["who works"])
def get_workers(services: Used) -> dict[str, Any]:
    """Live workers, and what they are busy with."""
    own = [{**worker.__dict__, "versions": dict(worker.versions), "jobs": list(worker.jobs)} for worker in services.workers.workers()]
    return {"data": own}


@router.get("/storage", tags=["who works"])
def get_storage(project: Project, services: Used) -> dict[str, Usage]:
    """What the project's jobs and data sets take in storage. Slow where there are many: everything is listed."""
    return use_cases.usage(project, artifacts=services.artifacts)


@router.get("/catalog", tags=["what can be said"])
def get_catalog() -> dict[str, Any]:
    """Everything that a spec can declare: arguments, types, defaults, help."""
    return catalog.load()


@router.get("/examples", tags=["what can be said"])
def get_examples() -> dict[str, Any]:
    """Specs that run as they are."""
    return examples()


@router.get("/schema/job.json", tags=["what can be said"])
def get_schema() -> JSONResponse:
    """The JSON Schema of a job spec."""
    return JSONResponse(JobSpec.model_json_schema(), media_type="application/schema+json")

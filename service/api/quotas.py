"""What a project may have, and has: for everybody who looks at it, and for admins of the installation, who say how much."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from service.access.quota import Quota
from service.api.auth import administering, reading
from service.api.bodies import posted, told
from service.api.parts import Access, Project, Who
from service.api.problems import Refused, responses
from service.use_cases import access as use_cases

router = APIRouter(prefix="/v1", responses=responses(401, 403, 404, 503), tags=["who may"])


class Used(BaseModel):
    """What a project has now."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    running: int
    """Jobs that run."""
    queued: int
    """Jobs that wait or are paused."""
    stored_bytes: int
    """Bytes in storage, and those of uploads on their way."""
    gpu_hours: float
    """GPU hours of the last 30 days."""


class QuotaView(BaseModel):
    """What a project may have, and has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    project: str
    quota: Quota
    """What was set for this project; null where nothing was."""
    limits: Quota
    """What holds: the project's own, and the installation's settings where it has none. null: no limit."""
    used: Used


@router.get("/quota", response_model=QuotaView, dependencies=[Depends(reading)])
def get_quota(project: Project, access: Access) -> QuotaView:
    """What this project may have, and has."""
    return _view(use_cases.share(access.store.project(project), access=access))


@router.get("/projects/{project}/quota", response_model=QuotaView, dependencies=[Depends(administering)])
def get_quota_of_project(project: str, who: Who, access: Access) -> QuotaView:
    """What a project may have, and has."""
    return _view(use_cases.share(use_cases.find_project(who, project, access=access), access=access))


@router.put(
    "/projects/{project}/quota",
    response_model=QuotaView,
    responses=responses(413, 422),
    openapi_extra=told(Quota),
    dependencies=[Depends(administering)],
)
def put_quota(project: str, who: Who, access: Access, quota: Annotated[Quota, Depends(posted(Quota))]) -> QuotaView:
    """Say what a project may have: all of it, in place of what was said before. For admins of the installation."""
    use_cases.find_project(who, project, access=access)
    if not who.everywhere:
        raise Refused(403, "forbidden", "Quotas are set by an admin of the installation; this key is one project's.")
    return _view(use_cases.share(use_cases.limit_project(project, quota, access=access), access=access))


def _view(found: use_cases.Share) -> QuotaView:
    used = Used(
        running=found.used.running,
        queued=found.used.queued,
        stored_bytes=found.used.stored_bytes,
        gpu_hours=round(found.used.gpu_hours, 6),
    )
    return QuotaView(project=found.project, quota=found.quota, limits=found.limits, used=used)

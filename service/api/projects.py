"""The endpoints under /v1/projects, and /v1/audit: for admins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from service.access.audit import Told
from service.access.keys import PROJECT, Project
from service.api.auditing import REFUSED, recorder_of
from service.api.auth import administering, keyring_of
from service.api.bodies import posted, told
from service.api.parts import Access, Who
from service.api.problems import Refused, responses
from service.use_cases import access as use_cases

router = APIRouter(prefix="/v1", responses=responses(401, 403, 503), tags=["who may"])


class ProjectView(BaseModel):
    """A project: jobs, data sets and keys belong to one, and see no other's."""

    name: str
    description: str
    created_at: datetime


class ProjectList(BaseModel):
    """Projects, by name."""

    data: list[ProjectView]


class ProjectWanted(BaseModel):
    """A project to be made."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=f"^{PROJECT}$")
    """Lower-case letters, digits, `-` and `_`; a letter or digit first; 63 at most."""
    description: str = Field(default="", max_length=1000)
    """Whose it is, in words."""


class AuditPage(BaseModel):
    """Entries of the audit log, the newest first."""

    data: list[Told]
    next_cursor: str | None


@router.get("/projects", response_model=ProjectList, dependencies=[Depends(administering)])
def list_projects(who: Who, access: Access) -> ProjectList:
    """The projects that this key rules: its own, or all."""
    return ProjectList(data=[_view(project) for project in use_cases.all_projects(who, access=access)])


@router.post(
    "/projects",
    status_code=201,
    response_model=ProjectView,
    responses=responses(409, 413, 422),
    openapi_extra=told(ProjectWanted),
    dependencies=[Depends(administering)],
)
def create_project(
    response: Response, who: Who, access: Access, wanted: Annotated[ProjectWanted, Depends(posted(ProjectWanted))]
) -> ProjectView:
    """Make a project. For admins of the installation."""
    _check_everywhere(who.everywhere)
    project = use_cases.create_project(wanted.name, wanted.description, access=access)
    response.headers["Location"] = f"/v1/projects/{project.name}"
    return _view(project)


@router.get("/projects/{project}", response_model=ProjectView, responses=responses(404), dependencies=[Depends(administering)])
def get_project(project: str, who: Who, access: Access) -> ProjectView:
    """One project."""
    return _view(use_cases.find_project(who, project, access=access))


@router.delete("/projects/{project}", status_code=204, responses=responses(404, 409), dependencies=[Depends(administering)])
def delete_project(project: str, request: Request, who: Who, access: Access) -> None:
    """Remove a project that has no jobs, no data sets and no live keys. For admins of the installation."""
    use_cases.find_project(who, project, access=access)
    _check_everywhere(who.everywhere)
    use_cases.delete_project(project, access=access)
    keyring_of(request).forget()


@dataclass(frozen=True, kw_only=True)
class AuditFilters:
    """What of the log is wanted."""

    key_id: Annotated[str | None, Query(description="Only what this key did.")] = None
    project: Annotated[str | None, Query(description="Only in this project.")] = None
    action: Annotated[str | None, Query(max_length=200, description="Only routes in which this stands: `DELETE`, `/v1/keys`.")] = None
    object: Annotated[str | None, Query(description="Only what was done to this: an id, a name.")] = None
    refused: Annotated[bool, Query(description="Only what was not let in (401, 403, 429).")] = False
    since: Annotated[AwareDatetime | None, Query(description="Only from this moment on.")] = None

    def fit(self, entry: Told) -> bool:
        """Whether it is wanted."""
        return (
            self.key_id in (None, entry.key_id)
            and self.project in (None, entry.project)
            and (self.action is None or self.action in entry.action)
            and self.object in (None, entry.object)
            and (not self.refused or entry.outcome in REFUSED)
            and (self.since is None or entry.at >= self.since)
        )


@router.get("/audit", response_model=AuditPage, responses=responses(422), dependencies=[Depends(administering)])
def read_audit(
    request: Request,
    who: Who,
    access: Access,
    filters: Annotated[AuditFilters, Depends()],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(pattern=r"^[1-9][0-9]{0,14}-[0-9]{1,15}$")] = None,
) -> AuditPage:
    """Every change, and every refusal of access: who, what, when, from where. The newest first; to an admin of a project, its own."""
    recorder_of(request).flush()

    def wanted(entry: Told) -> bool:
        return (who.everywhere or entry.project == who.project) and filters.fit(entry)

    page = use_cases.read_audit(before=cursor, limit=limit, wanted=wanted, access=access)
    return AuditPage(data=list(page.entries), next_cursor=page.next_cursor)


def _check_everywhere(everywhere: bool) -> None:
    if not everywhere:
        raise Refused(403, "forbidden", "Projects are made and removed by an admin of the installation; this key is one project's.")


def _view(project: Project) -> ProjectView:
    return ProjectView(name=project.name, description=project.description, created_at=project.created_at)

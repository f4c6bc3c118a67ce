"""What routes are handed: who asks, the project, the use cases' collaborators, what waits for changes; and how long parts of an address may be."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request
from pydantic import Field

from service.access.principal import Principal
from service.api.apart import Rooms
from service.api.auth import principal_of, project_of
from service.jobs.ports import Changes
from service.use_cases import Services
from service.use_cases import access as accessing

Project = Annotated[str, Depends(project_of)]
Who = Annotated[Principal, Depends(principal_of)]


async def services_of(request: Request) -> Services:
    """The use cases' collaborators."""
    services: Services = request.app.state.services
    return services


async def changes_of(request: Request) -> Changes:
    """What waits for changes."""
    changes: Changes = request.app.state.changes
    return changes


async def access_of(request: Request) -> accessing.Access:
    """What keys and projects are made with."""
    access: accessing.Access = request.app.state.access
    return access


Access = Annotated[accessing.Access, Depends(access_of)]


async def rooms_of(request: Request) -> Rooms:
    """Threads for what takes long."""
    rooms: Rooms = request.app.state.rooms
    return rooms


LARGEST = 2**53
"""What every reader of JSON takes for the same whole number."""

LONGEST_NAME, LONGEST_PATH = 100, 1000
Name = Annotated[str, Path(max_length=LONGEST_NAME)]
"""Of a job, a data set, a version, an entry of the catalog."""
FilePath = Annotated[str, Path(max_length=LONGEST_PATH)]
After = Annotated[int, Query(ge=0, le=LARGEST)]
At = Annotated[str | None, Query(max_length=1000, description="`next_cursor` of the page before")]

Words = Annotated[str, Field(max_length=200)]

Apart = Annotated[Rooms, Depends(rooms_of)]
Used = Annotated[Services, Depends(services_of)]
Watched = Annotated[Changes, Depends(changes_of)]

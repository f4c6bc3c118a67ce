"""What routes are handed: who asks, the project, the use cases' collaborators, what waits for changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.access.principal import Principal
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
Used = Annotated[Services, Depends(services_of)]
Watched = Annotated[Changes, Depends(changes_of)]

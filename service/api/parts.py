"""What routes are handed: the project, the use cases' collaborators, what waits for changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.api.auth import project_of
from service.jobs.ports import Changes
from service.use_cases import Services

Project = Annotated[str, Depends(project_of)]


async def services_of(request: Request) -> Services:
    """The use cases' collaborators."""
    services: Services = request.app.state.services
    return services


async def changes_of(request: Request) -> Changes:
    """What waits for changes."""
    changes: Changes = request.app.state.changes
    return changes


Used = Annotated[Services, Depends(services_of)]
Watched = Annotated[Changes, Depends(changes_of)]

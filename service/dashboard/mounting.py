"""Puts the pages into the application."""

from __future__ import annotations

from fastapi import FastAPI

from service.dashboard import assets, documentation, jobs, new_job, sessions
from service.dashboard.sparks import Sparks


def mount(app: FastAPI) -> None:
    """Add the dashboard. Errors on its pages are pages, too; on the API they stay problem documents."""
    app.state.sparks = Sparks()
    for router in (assets.router, sessions.router, documentation.router, new_job.router, jobs.router):
        app.include_router(router)

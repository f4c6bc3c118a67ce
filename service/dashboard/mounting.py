"""Puts the pages into the application."""

from __future__ import annotations

from fastapi import FastAPI

from service.api.shortcuts import Shortcuts
from service.dashboard import assets, catalog, comparing, datasets, documentation, jobs, new_job, sessions, workers
from service.dashboard.parameters import Parameters
from service.dashboard.sparks import Sparks


def mount(app: FastAPI) -> None:
    """Add the dashboard. Errors on its pages are pages, too; on the API they stay problem documents."""
    app.state.sparks, app.state.parameters = Sparks(), Parameters()
    app.router.routes.insert(0, Shortcuts(*jobs.SHORTCUTS))
    for part in (assets, sessions, documentation, new_job, jobs, comparing, datasets, workers, catalog):
        app.include_router(part.router)

"""The HTTP application as a value of its collaborators. Also liveness, readiness and version, which need no key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from service.api import datasets, files, house, problems, routes, watching, webhooks
from service.api.lingering import Lingering
from service.jobs.errors import Unavailable
from service.jobs.ports import Changes
from service.use_cases import Services

DESCRIPTION = "POST a job spec in PyTorch's own words; poll; fetch the trained model."


def create_app(
    *,
    services: Services,
    changes: Changes,
    checks: Mapping[str, Callable[[], None]],
    api_key: str | None = None,
    closing: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """The application. `checks` are what readiness asks, each raising Unavailable; `closing` is awaited at the end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if closing is not None:
            await closing()

    # the stock documentation pages load scripts from another host; the dashboard serves its own
    app = FastAPI(
        title="Trainyard", version=version("trainyard"), description=DESCRIPTION, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.services, app.state.changes, app.state.api_key = services, changes, api_key
    problems.install(app)
    app.add_middleware(Lingering)
    app.include_router(routes.taking)
    for part in (routes, watching, files, house, datasets, webhooks):
        app.include_router(part.router)
    _add_health(app, checks)
    _add_problem_schema(app)
    return app


def _add_health(app: FastAPI, checks: Mapping[str, Callable[[], None]]) -> None:
    @app.get("/healthz", tags=["health"])
    def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    def readyz(request: Request) -> JSONResponse:
        """Whether a job submitted now would run: each part with its reason."""
        parts: dict[str, str] = {}
        for name, check in checks.items():
            try:
                check()
                parts[name] = "ok"
            except Unavailable as error:
                parts[name] = str(error)
        needed_down = any(state != "ok" for name, state in parts.items() if name != "preflight")
        try:
            parts["workers"] = str(len(request.app.state.services.workers.workers()))
        except Unavailable as error:
            parts["workers"] = str(error)
        return JSONResponse({"status": "unavailable" if needed_down else "ok", "parts": parts}, status_code=503 if needed_down else 200)

    @app.get("/version", tags=["health"])
    def get_version() -> dict[str, str]:
        """The service's version."""
        return {"trainyard": version("trainyard")}


def _add_problem_schema(app: FastAPI) -> None:
    generate = app.openapi

    def with_problem() -> dict[str, object]:
        schema = generate()
        schema["components"]["schemas"].setdefault(
            "Problem", problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        )
        return schema

    app.openapi = with_problem  # type: ignore[method-assign]  # FastAPI's own way to add to the schema

"""The HTTP application as a value of its collaborators. Also liveness, readiness and version, which need no key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from service.api import datasets, files, house, keys, monitoring, problems, projects, quotas, routes, watching, webhooks
from service.api.apart import Rooms
from service.api.auditing import Auditing, Recorder
from service.api.auth import public
from service.api.guarding import Guarding
from service.api.incoming import Incoming
from service.api.keyring import Keyring
from service.api.lingering import Lingering
from service.api.observing import Observing
from service.api.places import Places
from service.api.rating import Rating
from service.api.remembered import Remembered
from service.api.shortcuts import Chosen, Shortcut, Shortcuts
from service.api.streams import Readings
from service.jobs.errors import Unavailable
from service.jobs.ports import Changes, Monitor, PreflightLoad, Stamps
from service.use_cases import Services
from service.use_cases.access import Access

DESCRIPTION = "POST a job spec in PyTorch's own words; poll; fetch the trained model."


def create_app(
    *,
    services: Services,
    changes: Changes,
    stamps: Stamps,
    checks: Mapping[str, Callable[[], None]],
    keyring: Keyring,
    access: Access,
    recorder: Recorder,
    monitor: Monitor,
    preflight_load: Callable[[], PreflightLoad],
    metrics_token: str | None = None,
    hosts: Iterable[str] | None = None,
    places: Places | None = None,
    rating: Rating | None = None,
    closing: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """The application. `checks` are what readiness asks, each raising Unavailable; `closing` is awaited at the end.

    `hosts` are the names that it goes by, None for any; `places` the room for answers that wait, `rating` how often
    each may ask, which has no limit unless given. `monitor` and `preflight_load` are what
    `/metrics` tells; `metrics_token` opens that alone.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if closing is not None:
            await closing()

    # the stock documentation pages load scripts from another host; the dashboard serves its own
    app = FastAPI(
        title="Trainyard",
        version=version("trainyard"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,  # it would redirect to whatever host the request names
    )
    app.state.services, app.state.changes = services, changes
    app.state.stamps, app.state.remembered = stamps, Remembered()
    app.state.keyring, app.state.access, app.state.recorder = keyring, access, recorder
    app.state.places, app.state.readings, app.state.rooms = places or Places(), Readings(), Rooms()
    app.state.rating = rating or Rating()
    app.state.metrics_token = metrics_token
    app.state.registry, requests = monitoring.registry_of(monitor, preflight_load)
    problems.install(app)
    # the last one added sees a request first
    app.add_middleware(Incoming)
    app.add_middleware(Guarding, hosts=hosts)
    app.add_middleware(Lingering)
    app.add_middleware(Auditing)
    app.add_middleware(Observing, requests=requests)
    app.router.routes.append(Shortcuts(*routes.SHORTCUTS, *watching.SHORTCUTS, *files.SHORTCUTS, *house.SHORTCUTS, ALIVE))
    app.include_router(routes.taking)
    for part in (routes, watching, files, house, datasets, keys, projects, quotas, webhooks, monitoring):
        app.include_router(part.router)
    _add_health(app, checks)
    _add_problem_schema(app)
    return app


async def _alive(_: Request, __: Chosen) -> Response:
    return JSONResponse(ALIVE_BODY)


ALIVE_BODY = {"status": "ok"}
ALIVE = Shortcut("/healthz", _alive)


def _add_health(app: FastAPI, checks: Mapping[str, Callable[[], None]]) -> None:
    @app.get("/healthz", dependencies=[Depends(public)], tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return ALIVE_BODY

    @app.get("/readyz", dependencies=[Depends(public)], tags=["health"])
    async def readyz(request: Request) -> JSONResponse:
        """Whether a job submitted now would run: each part with its reason."""
        # who asks meanwhile gets the same answer: needs no key, and a part that hangs takes its time
        ready, parts = await request.app.state.readings.once("readyz", partial(_readiness, checks, request.app.state.services))
        return JSONResponse({"status": "ok" if ready else "unavailable", "parts": parts}, status_code=200 if ready else 503)

    @app.get("/version", dependencies=[Depends(public)], tags=["health"])
    async def get_version() -> dict[str, str]:
        """The service's version."""
        return {"trainyard": version("trainyard")}


def _readiness(checks: Mapping[str, Callable[[], None]], services: Services) -> tuple[bool, Mapping[str, str]]:
    """Whether all that is needed answers, and each part with its reason."""
    parts: dict[str, str] = {}
    for name, check in checks.items():
        try:
            check()
            parts[name] = "ok"
        except Unavailable as error:
            parts[name] = str(error)
    ready = all(state == "ok" for name, state in parts.items() if name != "preflight")
    try:
        parts["workers"] = str(len(services.workers.workers()))
    except Unavailable as error:
        parts["workers"] = str(error)
    return ready, parts


RATE_HEADERS = {
    "RateLimit": {
        "description": 'What is left of the asker\'s rate (draft-ietf-httpapi-ratelimit-headers): `"key";r=1990;t=1`, r requests, all of them there'
        " again in t seconds. Not sent where no rate is set.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": 'The rate itself: `"key";q=2000;w=2`, q requests at once, which come back within w seconds.',
        "schema": {"type": "string"},
    },
}


def _with_rate(response: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_HEADERS}
    return {**response, "headers": {**response.get("headers", {}), **named}}


def _add_problem_schema(app: FastAPI) -> None:
    generate = app.openapi

    def with_problem() -> dict[str, object]:
        schema = generate()
        schema["components"]["schemas"].setdefault(
            "Problem", problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        )
        described = problems.responses(400, 403, 408, 421, 429, 431)
        schema["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "Where the service has a key."}
        }
        schema["components"]["headers"] = RATE_HEADERS
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                # what is looked at before a route is chosen: Host, the size of the head; where something changes, the page it is asked from
                statuses = (400, 421, 431, *(() if method == "get" else (403,)), *((408,) if "requestBody" in operation else ()))
                for status in (*statuses, *((429,) if path.startswith("/v1/") else ())):
                    operation["responses"].setdefault(str(status), described[status])
                if path.startswith("/v1/"):
                    operation["security"] = [{"key": []}]
                    for status, response in operation["responses"].items():
                        if status.startswith("2") or status == "429":
                            operation["responses"][status] = _with_rate(response)
        return schema

    app.openapi = with_problem  # type: ignore[method-assign]  # FastAPI's own way to add to the schema

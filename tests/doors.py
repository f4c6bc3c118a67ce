"""Every route of the service, and whom each says that it lets in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from service.api.auth import Door, public
from service.api.shortcuts import Shortcuts
from service.main import build
from service.settings import ApiSettings


def whole_app() -> FastAPI:
    """The application as it is served; nothing is connected to."""
    return build(ApiSettings.read()).app


def routes_of(app: FastAPI) -> Sequence[RouteContext]:
    """Those of routers that were included, too; shortcuts stand for routes that are among them, and are asked by their addresses."""
    return [route for route in iter_route_contexts(app.routes) if not isinstance(route.route, Shortcuts)]


def doors(route: RouteContext) -> list[Door | None]:
    """What the route declares: doors, and None for `public`."""
    dependant: Dependant | None = getattr(route, "dependant", None)
    asked = getattr(route.endpoint, "door", None)
    return [*(_declared(dependant) if dependant else ()), *([asked] if asked else [])]


def _declared(dependant: Dependant) -> Iterator[Door | None]:
    for each in dependant.dependencies:
        if isinstance(each.call, Door):
            yield each.call
        elif each.call is public:
            yield None

"""Every route says whom it lets in."""

from __future__ import annotations

import pytest
from fastapi.routing import RouteContext

from service.access.principal import Role
from tests.doors import doors, routes_of, whole_app

NOT_OURS = {"/openapi.json"}
"""FastAPI's own."""
ROUTES = [route for route in routes_of(whole_app()) if route.path not in NOT_OURS]
CHANGES_NOTHING = {"/v1/jobs/validate", "/v1/jobs/script", "/v1/jobs/{job_id}/predict", "/ui/check", "/ui/edit"}
"""POST because of what they are told, not of what they do."""


def test_there_is_something_to_look_at():
    assert len(ROUTES) > 60


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{'/'.join(sorted(route.methods))} {route.path}")
def test_every_route_declares_one_role(route: RouteContext):
    """`dependencies=[Depends(reading)]`, or submitting, administering, public."""
    assert len(doors(route)) == 1


def test_what_changes_something_takes_more_than_the_role_of_a_reader():
    lax = [
        route.path for route in ROUTES if route.methods - {"GET", "HEAD"} and any(door and door.role is Role.READ for door in doors(route))
    ]

    assert set(lax) == CHANGES_NOTHING

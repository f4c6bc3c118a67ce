"""The API's own pages, from vendored Swagger UI: nothing loads from another host."""

from __future__ import annotations

from fastapi import Depends, Request, Response

from service.api.auth import public
from service.dashboard.pages import POLICY, page
from service.dashboard.routing import pages

router = pages()

# Swagger UI writes its styles into the page and draws its icons from data: addresses
SWAGGER_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


@router.get("/docs", dependencies=[Depends(public)])
def docs(request: Request) -> Response:
    """Every route, to read and to try."""
    return page("docs.html", request, policy=SWAGGER_POLICY)

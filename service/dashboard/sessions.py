"""Signing in: whoever shows the key once gets a cookie that stands for it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.api.auth import SESSION_COOKIE, SESSION_SECONDS, is_key, session_of
from service.dashboard.pages import is_fragment, page

MAX_BYTES = 8192
"""Of a posted key and where to go."""

router = APIRouter(include_in_schema=False)


def inside(address: str) -> str:
    """The address, where it is a page of ours; else the first page."""
    return address if address.startswith("/") and not address.startswith(("//", "/\\")) else "/"


def to_sign_in(request: Request) -> Response:
    """Whoever is not signed in goes to the door, and from there where they wanted to go."""
    if is_fragment(request):
        return Response(status_code=204, headers={"HX-Refresh": "true"})
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?{urlencode({'next': wanted})}", status_code=303)


@router.get("/sign-in")
def ask_for_key(request: Request, next: Annotated[str, Query(max_length=4000)] = "/") -> Response:
    """The form; nothing to do where the service has no key."""
    if request.app.state.api_key is None:
        return RedirectResponse(inside(next), status_code=303)
    return page("sign_in.html", request, next=inside(next), wrong=False)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """The cookie, for who shows the right key."""
    form = await _form(request)
    wanted = inside(form.get("next", "/"))
    if not is_key(request, form.get("key", "")):
        return page("sign_in.html", request, status=401, next=wanted, wrong=True)
    answer = RedirectResponse(wanted, status_code=303)
    answer.set_cookie(
        SESSION_COOKIE, session_of(request), max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


async def _form(request: Request) -> dict[str, str]:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            return {}
    return {name: values[0] for name, values in parse_qs(data.decode(errors="replace")).items()}


@router.post("/sign-out")
def sign_out() -> Response:
    """The cookie goes."""
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(SESSION_COOKIE)
    return answer

"""Signing in: whoever shows a key once gets a cookie that stands for it, as long as the key is good."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.access.errors import ProjectNotFound
from service.access.keys import digest
from service.access.principal import DEFAULT_PROJECT
from service.api import sessions
from service.api.auth import as_principal, check_site, key_shown, keyring_of, public
from service.api.problems import Refused
from service.api.sessions import Session
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


@router.get("/sign-in", dependencies=[Depends(public)])
async def ask_for_key(request: Request, next: Annotated[str, Query(max_length=4000)] = "/") -> Response:
    """The form; nothing to do where the service is open."""
    if await keyring_of(request).is_open():
        return RedirectResponse(inside(next), status_code=303)
    return page("sign_in.html", request, next=inside(next), wrong=None)


@router.post("/sign-in", dependencies=[Depends(public)])
async def sign_in(request: Request) -> Response:
    """The cookie, for who shows a good key."""
    check_site(request)
    form, keyring = await _form(request), keyring_of(request)
    wanted, text = inside(form.get("next", "/")), form.get("key", "").strip()
    try:
        key = await key_shown(text, request)
    except Refused as error:
        answer = page("sign_in.html", request, status=error.status, next=wanted, wrong=error.detail)
        answer.headers.update(error.headers or {})
        return answer
    await keyring.note_use(key)
    request.state.principal = as_principal(key)
    answer = RedirectResponse(wanted, status_code=303)
    session = Session.of(key, digest(text), project=DEFAULT_PROJECT if key.everywhere else key.project)
    _keep(session.cookie(await keyring.session_secret()), request, answer)
    return answer


@router.post("/ui/project", dependencies=[Depends(public)])
async def choose_project(request: Request) -> Response:
    """Look at another project: for keys of the installation."""
    form, keyring = await _form(request), keyring_of(request)
    session = await _own_session(request, form)
    project, key = form.get("project", "").strip(), await keyring.find(session.key_id)
    try:
        await keyring.check_project(project if key.everywhere else "")
    except ProjectNotFound:
        return page("error.html", request, status=404, title="Not found", detail=f"There is no project {project!r}.")
    answer = RedirectResponse("/", status_code=303)
    _keep(session.at(project).cookie(await keyring.session_secret()), request, answer)
    return answer


@router.post("/sign-out", dependencies=[Depends(public)])
async def sign_out(request: Request) -> Response:
    """The cookie goes."""
    await _own_session(request, await _form(request))
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(sessions.COOKIE)
    return answer


async def _own_session(request: Request, form: dict[str, str]) -> Session:
    """The session whose page the form was on. Raises Refused."""
    check_site(request)
    cookie, secret = request.cookies.get(sessions.COOKIE, ""), await keyring_of(request).session_secret()
    session = sessions.read(cookie, secret)
    if session is None or not sessions.is_csrf_token(form.get("csrf_token", ""), cookie, secret):
        raise Refused(403, "forbidden", "This was not asked by a page of your session. Load the page again.")
    request.state.key_id = session.key_id
    return session


def _keep(cookie: str, request: Request, answer: Response) -> None:
    is_https = request.url.scheme == "https"
    answer.set_cookie(sessions.COOKIE, cookie, max_age=sessions.SECONDS, httponly=True, samesite="strict", secure=is_https)


async def _form(request: Request) -> dict[str, str]:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            return {}
    return {name: values[0] for name, values in parse_qs(data.decode(errors="replace")).items()}

"""The pages of all that a spec can declare."""

from __future__ import annotations

from fastapi import Depends, Request, Response

from service.api.auth import reading
from service.api.parts import Name, Project, Words
from service.api.problems import Refused
from service.dashboard.declarable import TITLES, Entry, by_name, groups
from service.dashboard.highlighting import highlighted
from service.dashboard.pages import page
from service.dashboard.routing import pages
from service.spec.catalog import suggest

router = pages()


@router.get("/catalog", dependencies=[Depends(reading)])
def catalog_page(request: Request, _: Project, q: Words = "") -> Response:
    """Everything, to search in."""
    return page("catalog/index.html", request, groups=groups(), q=q)


@router.get("/catalog/{group}/{name}", dependencies=[Depends(reading)])
def entry_page(group: Name, name: Name, request: Request, _: Project) -> Response:
    """One thing."""
    entry = _entry(group, name)
    return page("catalog/entry.html", request, entry=entry, title=TITLES[group][0], place=TITLES[group][1], snippet=_coloured(entry))


@router.get("/ui/catalog/{group}/{name}", dependencies=[Depends(reading)])
def entry_part(group: Name, name: Name, request: Request, _: Project) -> Response:
    """One thing, to stand in the list."""
    entry = _entry(group, name)
    return page("catalog/about.html", request, entry=entry, place=TITLES[group][1], snippet=_coloured(entry))


def _entry(group: str, name: str) -> Entry:
    found = by_name().get((group, name))
    if found is None:
        close = suggest(name, {known for _, known in by_name()})
        raise Refused(404, "not-found", f"The catalog has no {name!r} among {group!r}.{f' Did you mean {close}?' if close else ''}")
    return found


def _coloured(entry: Entry) -> str:
    return highlighted(entry.snippet, "yaml")

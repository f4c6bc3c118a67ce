"""The page of a new job: a text that is checked as one types, with what is known of it beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from service import use_cases
from service.api.auth import reading, submitting
from service.api.parts import Apart, Project, Used, Words
from service.dashboard.beginning import first_spec
from service.dashboard.explaining import explained, needed
from service.dashboard.gallery import FIRST, example, gallery
from service.dashboard.highlighting import as_yaml
from service.dashboard.marking import Mark, Marker
from service.dashboard.pages import page, rendered
from service.dashboard.routing import pages
from service.spec.edits import edit_of
from service.spec.places import Places
from service.spec.text import MAX_BYTES, compose, plain, values
from service.spec.verdict import Fault, Fix, SpecFaults, Verdict
from service.use_cases import Services

router = pages()


@router.get("/jobs/new", dependencies=[Depends(submitting)])
def new_job_page(
    request: Request,
    project: Project,
    services: Used,
    example_name: Annotated[str | None, Query(alias="example", max_length=200)] = None,
    clone: Words | None = None,
    dataset: Words | None = None,
) -> Response:
    """An editor with a copy of a job's spec, a first spec for a data set, an example, or the first example in it."""
    shown: dict[str, Any] = {"origin": "", "shown": None, "job": None, "dataset": dataset}
    if dataset is not None:
        try:
            text = first_spec(use_cases.find_dataset(project, dataset, None, services=services))
        except ValueError as error:
            return page("error.html", request, status=409, title="Not yet", detail=str(error))
        shown |= {"origin": f"dataset={dataset}"}
    elif clone is not None:
        job = services.jobs.find(project, clone)
        text = as_yaml(job.spec)
        shown |= {"origin": f"clone={job.id}", "job": job}
    else:
        chosen = example(example_name or FIRST)
        if chosen is None:
            return page("error.html", request, status=404, title="Not found", detail=f"There is no example {example_name}.")
        text = chosen.text
        shown |= {"origin": f"example={chosen.name}" if example_name else "", "shown": chosen}
    return page("new_job/index.html", request, text=text, gallery=gallery(), needed=needed(), **shown)


@router.post("/ui/check", dependencies=[Depends(reading)])
async def check(request: Request, project: Project, services: Used, rooms: Apart) -> Response:
    """What is wrong with a text, mark by mark, and the table of its layers as HTML."""
    data = await _data(request)
    found = await rooms.checking.run(_checked, data, project, services)
    return JSONResponse(found, headers={"Cache-Control": "no-store"})


def _checked(data: bytes, project: str, services: Services) -> Mapping[str, Any]:
    text = data.decode(errors="replace")
    try:
        root = compose(data) if len(data) <= MAX_BYTES else None
        body = plain(values(root)) if root is not None else plain(_nothing(data))
    except SpecFaults as error:
        return _told(_unread(text, error), None)
    verdict = use_cases.validate(body, project=project, services=services)
    assert root is not None  # noqa: S101 - an object has nodes
    return _told(Marker(text, Places(text, root)).marks(verdict.errors, verdict.warnings), verdict)


def _nothing(data: bytes) -> Any:
    """What a text says that has no nodes. Raises SpecFaults."""
    if len(data) > MAX_BYTES:
        raise SpecFaults([Fault(pointer="", code="too_large", detail=f"The text has {len(data)} bytes; {MAX_BYTES} are allowed.")])
    return None


def _unread(text: str, error: SpecFaults) -> list[Mark]:
    """Of a text whose nodes are not all there, or hold what JSON does not."""
    if error.at is not None:
        return Marker(text, None).unreadable(error)
    try:
        root = compose(text.encode())
    except SpecFaults:
        root = None
    return Marker(text, Places(text, root) if root is not None else None).marks(error.faults)


def _told(marks: list[Mark], verdict: Verdict | None) -> Mapping[str, Any]:
    side = rendered("new_job/side.html", verdict=verdict) if verdict is not None else None
    return {"marks": [asdict(mark) for mark in marks], "valid": verdict is not None and verdict.valid, "side": side}


_STEPS = TypeAdapter(list[tuple[str | int, str | None]])


@router.get("/ui/explain", dependencies=[Depends(reading)])
def explain(request: Request, at: Annotated[str, Query(max_length=4000)]) -> Response:
    """What a place of a spec means. `at` is JSON: [[key or place in a list, type or null], ...] from the root on."""
    try:
        steps = _STEPS.validate_json(at)
    except ValidationError:
        return page("error_part.html", request, status=422, detail="This place cannot be understood.")
    return page("new_job/explained.html", request, told=explained(steps))


class Asked(BaseModel):
    """A change that somebody asks for by a click."""

    model_config = ConfigDict(extra="forbid")

    text: str
    op: Literal["set", "insert", "rename", "remove"]
    pointer: str
    value: JsonValue = None


@router.post("/ui/edit", dependencies=[Depends(reading)])
async def edit(request: Request, rooms: Apart) -> Response:
    """The edit of a text that makes one change: {start, end, text}, or null where there is none."""
    try:
        asked = Asked.model_validate_json(await _data(request))
        edit = await rooms.reading.run(_edited, asked)
    except (ValidationError, SpecFaults):
        return JSONResponse(None)
    return JSONResponse(edit)


def _edited(asked: Asked) -> Mapping[str, Any] | None:
    root = compose(asked.text.encode())
    if root is None:
        return None
    places = Places(asked.text, root)
    found = edit_of(Fix(op=asked.op, pointer=asked.pointer, value=asked.value), places)
    return asdict(Marker(asked.text, places).click(found, "")) if found else None


async def _data(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > 2 * MAX_BYTES:
            break
    return bytes(data)

"""The endpoints under /v1/jobs that make, list and move jobs: each parses, calls one use case, dresses the answer."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from service import use_cases
from service.api.auth import check_again, reading, submitting
from service.api.dressing import dressed, written
from service.api.examples import examples
from service.api.parts import Apart, At, Name, Project, Used, Watched, rooms_of, services_of
from service.api.places import client_of
from service.api.problems import Refused, responses
from service.api.shortcuts import Chosen, Shortcut, asked
from service.api.streams import settled
from service.api.views import JobPage, JobView, job_view
from service.jobs.job import Job
from service.jobs.listing import SORT_KEY, SORTED_AMONG
from service.jobs.ports import Idempotency, Submitted
from service.jobs.state import JobState
from service.spec.text import MAX_BYTES, parse_body
from service.spec.verdict import Fault, Verdict
from service.use_cases import Services

taking = APIRouter(prefix="/v1", responses=responses(401, 403, 422, 503))
router = APIRouter(prefix="/v1", responses=responses(401, 403, 422, 503))

JOBS = 50
"""In a page, where nobody says how many."""
AT_ONCE = 16_384
"""Bytes of JSON that are read quicker than a thread takes over: a few milliseconds."""


async def body_of(request: Request) -> dict[str, Any]:
    """The request's JSON or YAML object. Raises SpecFaults."""
    if int(request.headers.get("content-length", "0") or 0) > MAX_BYTES:
        parse_body(b" " * (MAX_BYTES + 1))
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            break
    kind = request.headers.get("content-type", "application/json")
    if len(data) <= AT_ONCE and "yaml" not in kind:
        return parse_body(bytes(data), kind)
    rooms = await rooms_of(request)
    return await rooms.reading.run(parse_body, bytes(data), kind)


Body = Annotated[dict[str, Any], Depends(body_of)]

SORTS = (
    "`created_at` (always newest first), `name`, `state` (in the order of a job's life), `finished_at`, or a metric; with `-` descending. "
    f"Jobs without that value come last. By anything but `created_at` the newest {SORTED_AMONG:,} matches are sorted: "
    "`only_newest` says so where there are more."
)

SPEC_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {
                "schema": {"$ref": "/v1/schema/job.json"},
                "examples": {name: {"summary": spec.get("name", name), "value": spec} for name, spec in examples().items()},
            }
            for kind in ("application/json", "application/yaml")
        },
    }
}


IDEMPOTENCY_KEY = {
    "name": "idempotency-key",
    "in": "header",
    "required": False,
    "schema": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 255}, {"type": "null"}], "title": "Idempotency-Key"},
}


@taking.post(
    "/jobs",
    status_code=202,
    response_model=JobView,
    responses=responses(413, 429),
    openapi_extra={**SPEC_BODY, "parameters": [IDEMPOTENCY_KEY]},
    tags=["jobs"],
)
@submitting.is_asked_by
async def submit_job(request: Request) -> Response:
    """Check a job spec whole, and queue it. The same Idempotency-Key with the same body gives the same job."""
    # the busiest route: it reads the request itself, because FastAPI's way of handing out the parts takes a tenth of it
    project, services = (await submitting(request)).project, await services_of(request)
    body = await body_of(request)
    key = _idempotency(request, body)
    submitted = await use_cases.submit_recalled(body, project=project, idempotency=key, services=services)
    if submitted is None:
        rooms = await rooms_of(request)
        submitted = await rooms.checking.run(use_cases.submit, body, project=project, idempotency=key, services=services)
    if submitted.position and not use_cases.is_expected(submitted.position):
        return _accepted(submitted, job_view(submitted.job, position=submitted.position, start=None))
    view = await run_in_threadpool(dressed, submitted.job, services, position=submitted.position)
    return _accepted(submitted, view)


def _idempotency(request: Request, body: dict[str, Any]) -> Idempotency | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255:
        fault = Fault(pointer="/idempotency-key", code="string_length", detail="idempotency-key: it has 1 to 255 characters.")
        raise Refused(422, "bad-request", "The request cannot be understood.", faults=[fault])
    return Idempotency(key=key, body_sha256=_sha256(body))


def _accepted(submitted: Submitted, view: JobView) -> Response:
    headers = {"Location": f"/v1/jobs/{submitted.job.id}", "Retry-After": "1"}
    if submitted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(view.model_dump_json(), status_code=202, media_type="application/json", headers=headers)


@router.post(
    "/jobs/validate",
    dependencies=[Depends(reading)],
    response_model=Verdict,
    responses=responses(413),
    openapi_extra=SPEC_BODY,
    tags=["jobs"],
)
async def validate_job(body: Body, project: Project, services: Used, rooms: Apart) -> Verdict:
    """Check a job spec without queueing it: faults, warnings, the layer table, the spec with everything filled in."""
    return await rooms.checking.run(use_cases.validate, body, project=project, services=services)


@router.post(
    "/jobs/script",
    dependencies=[Depends(reading)],
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/x-python": {"schema": {"type": "string"}}}}, **responses(413)},
    openapi_extra=SPEC_BODY,
    tags=["jobs"],
)
async def script_of_job(body: Body, project: Project, services: Used, rooms: Apart) -> Response:
    """A spec as the textbook's program, plain PyTorch: the `train.py` that its job would hand out. 503 where torch is not beside the API."""
    text = await rooms.checking.run(use_cases.script, body, project=project, services=services)
    return Response(text, media_type="text/x-python", headers={"Content-Disposition": 'inline; filename="train.py"'})


@router.get("/jobs", dependencies=[Depends(reading)], response_model=JobPage, tags=["jobs"])
def list_jobs(
    project: Project,
    services: Used,
    limit: Annotated[int, Query(ge=1, le=200)] = JOBS,
    cursor: At = None,
    state: Annotated[list[JobState] | None, Query(max_length=20)] = None,
    label: Annotated[list[Annotated[str, Field(max_length=300)]] | None, Query(max_length=20, description="key:value")] = None,
    name: Annotated[str | None, Query(max_length=200)] = None,
    q: Annotated[
        str | None, Query(max_length=200, description="looked for, whatever the case, in id, name, labels, and types of model and data set")
    ] = None,
    sort: Annotated[
        str, Query(description=SORTS, pattern=f"^{SORT_KEY}$", examples=["created_at", "-val_accuracy", "name"])
    ] = "created_at",
) -> Response:
    """Jobs, newest first or sorted otherwise, a page at a time."""
    labels = dict(each.partition(":")[::2] for each in label or ())
    try:
        page = services.jobs.list(project, limit=limit, cursor=cursor, states=state or (), labels=labels, name=name, text=q, sort=sort)
    except ValueError as error:
        raise Refused(422, "bad-cursor", str(error)) from error
    jobs = [dressed(job, services, alone=False) for job in page.jobs]
    return written(JobPage(data=jobs, next_cursor=page.next_cursor, only_newest=page.only_newest))


@router.get("/jobs/{job_id}", dependencies=[Depends(reading)], response_model=JobView, responses=responses(404), tags=["jobs"])
async def get_job(
    job_id: Name,
    request: Request,
    project: Project,
    services: Used,
    changes: Watched,
    wait: Annotated[float, Query(ge=0, le=60, description="answer once the state differs, or after this many seconds")] = 0,
    leaving: Annotated[JobState | None, Query(alias="while", description="the state to leave; default: the state at arrival")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One job as it is now."""
    with request.app.state.places.place(client_of(request)) if wait else nullcontext():
        job = await settled(project, job_id, seconds=wait, leaving=leaving, services=services, changes=changes)
    if wait:
        await check_again(request)
    # only of one that waits is there more to ask
    told = partial(_told, job, services, known=if_none_match)
    return await run_in_threadpool(told) if job.state is JobState.QUEUED else told()


def _told(job: Job, services: Services, *, known: str | None = None) -> Response:
    """The job, or 304 where it is `known`."""
    etag = f'W/"{job.version}"'
    if known == etag:
        return Response(status_code=304, headers={"ETag": etag})
    return Response(dressed(job, services).model_dump_json(), media_type="application/json", headers={"ETag": etag})


async def _job_asked(request: Request, chosen: Chosen) -> Response:
    _, project, services, _ = await asked(request, chosen)
    state, known, job_id = request.app.state, request.headers.get("if-none-match"), chosen["job_id"]

    def make(known: str | None = None) -> Response:
        return _told(services.jobs.find(project, job_id), services, known=known)

    stamp = await state.stamps.of(project, job_id)
    if stamp.state is JobState.QUEUED:  # when it starts goes by others, too
        return await run_in_threadpool(make, known)
    told: Response = await state.remembered.answer(("job", project, job_id), stamp.text, make)
    etag = told.headers["etag"]
    return Response(status_code=304, headers={"ETag": etag}) if known == etag else told


async def _newest_asked(request: Request, chosen: Chosen) -> Response:
    _, project, services, _ = await asked(request, chosen)
    state, limit = request.app.state, chosen.get("limit", JOBS)
    stamp = await state.stamps.of_newest(project, limit=limit + 1)  # one more tells whether there is another page
    told: Response = await state.remembered.answer(("jobs", project, limit), stamp, partial(list_jobs, project, services, limit=limit))
    return told


SHORTCUTS = (Shortcut("/v1/jobs/{job_id}", _job_asked), Shortcut("/v1/jobs", _newest_asked, numbers={"limit": (1, 200)}))


@router.post(
    "/jobs/{job_id}/cancel",
    dependencies=[Depends(submitting)],
    status_code=202,
    response_model=JobView,
    responses=responses(404, 409),
    tags=["jobs"],
)
def cancel_job(job_id: Name, project: Project, services: Used) -> JobView:
    """Stop a job: at once while it waits or is paused, within two seconds while it runs. Repeating is harmless."""
    return dressed(use_cases.cancel(project, job_id, services=services), services)


@router.post(
    "/jobs/{job_id}/pause",
    dependencies=[Depends(submitting)],
    status_code=202,
    response_model=JobView,
    responses=responses(404, 409),
    tags=["jobs"],
)
def pause_job(job_id: Name, project: Project, services: Used) -> JobView:
    """Set a job aside. One that runs writes a checkpoint of its last step first and frees its worker. Repeating is harmless."""
    return dressed(use_cases.pause(project, job_id, services=services), services)


@router.post(
    "/jobs/{job_id}/resume",
    dependencies=[Depends(submitting)],
    status_code=202,
    response_model=JobView,
    responses=responses(404, 409),
    tags=["jobs"],
)
def resume_job(job_id: Name, project: Project, services: Used) -> JobView:
    """Let a paused job go on where it was, to the same weights. Repeating is harmless."""
    return dressed(use_cases.resume(project, job_id, services=services), services)


@router.post(
    "/jobs/{job_id}/retry",
    dependencies=[Depends(submitting)],
    status_code=202,
    response_model=JobView,
    responses=responses(404, 409, 429),
    tags=["jobs"],
)
def retry_job(job_id: Name, project: Project, services: Used, response: Response) -> JobView:
    """A new job from a failed or cancelled one, from its last checkpoint. While that new job lives, asking again answers with it."""
    submitted = use_cases.retry(project, job_id, services=services)
    response.headers["Location"] = f"/v1/jobs/{submitted.job.id}"
    return dressed(submitted.job, services)


@router.delete("/jobs/{job_id}", dependencies=[Depends(submitting)], status_code=204, responses=responses(404, 409), tags=["jobs"])
def delete_job(job_id: Name, project: Project, services: Used) -> None:
    """Remove an ended job with everything that it left. From then on it is not found; its files go soon after."""
    use_cases.delete(project, job_id, services=services)


def _sha256(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

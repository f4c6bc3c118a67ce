"""The endpoints under /v1: each parses, calls one use case, dresses the answer."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from service import use_cases
from service.api.auth import project_of
from service.api.dressing import dressed
from service.api.examples import examples
from service.api.parts import Project, Used, Watched, services_of
from service.api.predicting import PREDICT_BODY, Prediction, question_of
from service.api.problems import Refused, responses
from service.api.ranges import Unsatisfiable, parse_range
from service.api.streams import event_stream, settled, zipped
from service.api.views import ArtifactPage, ArtifactView, EventPage, EventView, JobPage, JobView, MetricRows, job_view
from service.jobs.ports import Idempotency, Submitted
from service.jobs.state import JobState
from service.spec import catalog
from service.spec.job import JobSpec
from service.spec.text import MAX_BYTES, parse_body
from service.spec.verdict import Fault, Verdict
from service.tidying import Usage

# the busiest route asks for the key itself
taking = APIRouter(prefix="/v1", responses=responses(401, 503))
# every other one asks through this, also those that do not care whose it is
router = APIRouter(prefix="/v1", responses=responses(401, 503), dependencies=[Depends(project_of)])


async def body_of(request: Request) -> dict[str, Any]:
    """The request's JSON or YAML object. Raises SpecFaults."""
    if int(request.headers.get("content-length", "0") or 0) > MAX_BYTES:
        parse_body(b" " * (MAX_BYTES + 1))
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            break
    return parse_body(bytes(data), request.headers.get("content-type", "application/json"))


Body = Annotated[dict[str, Any], Depends(body_of)]

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
    responses=responses(413, 422),
    openapi_extra={**SPEC_BODY, "parameters": [IDEMPOTENCY_KEY]},
    tags=["jobs"],
)
async def submit_job(request: Request) -> Response:
    """Check a job spec whole, and queue it. The same Idempotency-Key with the same body gives the same job."""
    # the busiest route: it reads the request itself, because FastAPI's way of handing out the parts takes a tenth of it
    body, project, services = await body_of(request), await project_of(request), await services_of(request)
    key = _idempotency(request, body)
    submitted = await use_cases.submit_recalled(body, project=project, idempotency=key, services=services)
    if submitted is None:
        submitted = await run_in_threadpool(partial(use_cases.submit, body, project=project, idempotency=key, services=services))
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


@router.post("/jobs/validate", response_model=Verdict, responses=responses(413, 422), openapi_extra=SPEC_BODY, tags=["jobs"])
def validate_job(body: Body, project: Project, services: Used) -> Verdict:
    """Check a job spec without queueing it: faults, warnings, the layer table, the spec with everything filled in."""
    return use_cases.validate(body, project=project, services=services)


@router.get("/jobs", response_model=JobPage, responses=responses(422), tags=["jobs"])
def list_jobs(
    project: Project,
    services: Used,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
    state: Annotated[list[JobState] | None, Query()] = None,
    label: Annotated[list[str] | None, Query(description="key:value")] = None,
    name: str | None = None,
) -> JobPage:
    """Jobs, newest first, a page at a time."""
    labels = dict(each.partition(":")[::2] for each in label or ())
    try:
        page = services.jobs.list(project, limit=limit, cursor=cursor, states=state or (), labels=labels, name=name)
    except ValueError as error:
        raise Refused(422, "bad-cursor", str(error)) from error
    return JobPage(data=[dressed(job, services, alone=False) for job in page.jobs], next_cursor=page.next_cursor)


@router.get("/jobs/{job_id}", response_model=JobView, responses=responses(404), tags=["jobs"])
async def get_job(
    job_id: str,
    project: Project,
    services: Used,
    changes: Watched,
    wait: Annotated[float, Query(ge=0, le=60, description="answer once the state differs, or after this many seconds")] = 0,
    leaving: Annotated[JobState | None, Query(alias="while", description="the state to leave; default: the state at arrival")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One job as it is now."""
    job = await settled(project, job_id, seconds=wait, leaving=leaving, services=services, changes=changes)
    etag = f'W/"{job.version}"'
    if if_none_match == etag:
        return Response(status_code=304, headers={"ETag": etag})
    view = await run_in_threadpool(dressed, job, services)
    return Response(view.model_dump_json(), media_type="application/json", headers={"ETag": etag})


@router.post("/jobs/{job_id}/cancel", status_code=202, response_model=JobView, responses=responses(404, 409), tags=["jobs"])
def cancel_job(job_id: str, project: Project, services: Used) -> JobView:
    """Stop a job: at once while it waits or is paused, within two seconds while it runs. Repeating is harmless."""
    return dressed(use_cases.cancel(project, job_id, services=services), services)


@router.post("/jobs/{job_id}/pause", status_code=202, response_model=JobView, responses=responses(404, 409), tags=["jobs"])
def pause_job(job_id: str, project: Project, services: Used) -> JobView:
    """Set a job aside. One that runs writes a checkpoint of its last step first and frees its worker. Repeating is harmless."""
    return dressed(use_cases.pause(project, job_id, services=services), services)


@router.post("/jobs/{job_id}/resume", status_code=202, response_model=JobView, responses=responses(404, 409), tags=["jobs"])
def resume_job(job_id: str, project: Project, services: Used) -> JobView:
    """Let a paused job go on where it was, to the same weights. Repeating is harmless."""
    return dressed(use_cases.resume(project, job_id, services=services), services)


@router.post("/jobs/{job_id}/retry", status_code=202, response_model=JobView, responses=responses(404, 409), tags=["jobs"])
def retry_job(job_id: str, project: Project, services: Used, response: Response) -> JobView:
    """A new job from a failed or cancelled one, from its last checkpoint. While that new job lives, asking again answers with it."""
    submitted = use_cases.retry(project, job_id, services=services)
    response.headers["Location"] = f"/v1/jobs/{submitted.job.id}"
    return dressed(submitted.job, services)


@router.delete("/jobs/{job_id}", status_code=204, responses=responses(404, 409), tags=["jobs"])
def delete_job(job_id: str, project: Project, services: Used) -> None:
    """Remove an ended job with everything that it left. From then on it is not found; its files go soon after."""
    use_cases.delete(project, job_id, services=services)


@router.get("/jobs/{job_id}/events", response_model=EventPage, responses=responses(404), tags=["watching"])
def list_events(
    job_id: str,
    request: Request,
    project: Project,
    services: Used,
    changes: Watched,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    last_event_id: Annotated[int | None, Header()] = None,
) -> Response | EventPage:
    """What happened, oldest first. With `Accept: text/event-stream` a live stream that ends after the terminal event."""
    job = services.jobs.find(project, job_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        stream = event_stream(job, after=last_event_id if last_event_id is not None else after, services=services, changes=changes)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
    found = use_cases.events(job, after=after, limit=limit, services=services)
    return EventPage(data=[EventView(**event) for event in found])


@router.get("/jobs/{job_id}/metrics", response_model=MetricRows, responses=responses(404), tags=["watching"])
def list_metrics(job_id: str, request: Request, project: Project, services: Used, format: str = "json") -> Response | MetricRows:
    """A row per finished epoch, as JSON or (`?format=csv` or `Accept: text/csv`) CSV."""
    rows = use_cases.metrics(services.jobs.find(project, job_id), services=services)
    if format != "csv" and "text/csv" not in request.headers.get("accept", ""):
        return MetricRows(data=[dict(row) for row in rows])
    out = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(out, columns)
    table.writeheader()
    table.writerows(rows)
    return Response(out.getvalue(), media_type="text/csv")


@router.get("/jobs/{job_id}/logs", response_class=PlainTextResponse, responses=responses(404), tags=["watching"])
def get_logs(job_id: str, project: Project, services: Used, tail: Annotated[int | None, Query(ge=1)] = None) -> str:
    """The job's log lines."""
    lines = use_cases.logs(services.jobs.find(project, job_id), services=services)
    return "".join(f"{line}\n" for line in (lines[-tail:] if tail else lines))


@router.get("/jobs/{job_id}/artifacts", response_model=ArtifactPage, responses=responses(404, 409), tags=["artifacts"])
def list_artifacts(job_id: str, project: Project, services: Used) -> ArtifactPage:
    """The files of an ended job, with sizes and SHA-256."""
    files = use_cases.manifest(services.jobs.find(project, job_id), artifacts=services.artifacts)
    return ArtifactPage(data=[ArtifactView(**file, url=f"/v1/jobs/{job_id}/artifacts/{quote(file['path'])}") for file in files])


@router.get("/jobs/{job_id}/artifacts.zip", response_class=StreamingResponse, responses=responses(404, 409), tags=["artifacts"])
def get_artifacts_zip(job_id: str, project: Project, services: Used) -> StreamingResponse:
    """Every artifact in one zip file."""
    job = services.jobs.find(project, job_id)
    files = use_cases.manifest(job, artifacts=services.artifacts)
    opened = ((file, use_cases.read_artifact(job, file["path"], start=0, end=None, artifacts=services.artifacts)) for file in files)
    return StreamingResponse(zipped(opened), media_type="application/zip", headers=_named(f"{job.id}.zip"))


@router.get(
    "/jobs/{job_id}/artifacts/{path:path}", response_class=StreamingResponse, responses=responses(404, 409, 416), tags=["artifacts"]
)
def get_artifact(
    job_id: str,
    path: str,
    project: Project,
    services: Used,
    range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One artifact's bytes; Range and If-None-Match are honoured."""
    job = services.jobs.find(project, job_id)
    file = use_cases.artifact(job, path, artifacts=services.artifacts)
    size, etag = file["size"], f'"{file["sha256"]}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", **_named(path.rpartition("/")[2])}
    if if_none_match == etag:
        return Response(status_code=304, headers=headers)
    try:
        part = parse_range(range, size)
    except Unsatisfiable as error:
        raise Refused(416, "range-not-satisfiable", f"The file has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}) from error
    first, last = part or (0, size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    chunks = use_cases.read_artifact(job, path, start=first, end=last if part else None, artifacts=services.artifacts)
    return StreamingResponse(chunks, status_code=206 if part else 200, media_type=file["content_type"], headers=headers)


@router.post(
    "/jobs/{job_id}/predict",
    response_model=Prediction,
    responses=responses(404, 409, 413, 415, 422),
    openapi_extra=PREDICT_BODY,
    tags=["artifacts"],
)
async def predict(
    job_id: str,
    request: Request,
    project: Project,
    services: Used,
    resize: Annotated[bool, Query(description="make an image of another size fit")] = False,
) -> Prediction:
    """Ask the trained model: samples as JSON `{"inputs": [...]}`, one image as PNG or JPEG, rows of a table as CSV."""
    question = await question_of(request, resize=resize)
    job = await run_in_threadpool(services.jobs.find, project, job_id)
    return Prediction(**await run_in_threadpool(partial(use_cases.predict, job, question, services=services)))


@router.get("/storage", tags=["who works"])
def get_storage(project: Project, services: Used) -> dict[str, Usage]:
    """What the project's jobs and data sets take in storage. Slow where there are many: everything is listed."""
    return use_cases.usage(project, artifacts=services.artifacts)


@router.get("/catalog", tags=["what can be said"])
def get_catalog() -> dict[str, Any]:
    """Everything that a spec can declare: arguments, types, defaults, help."""
    return catalog.load()


@router.get("/examples", tags=["what can be said"])
def get_examples() -> dict[str, Any]:
    """Specs that run as they are."""
    return examples()


@router.get("/schema/job.json", tags=["what can be said"])
def get_schema() -> JSONResponse:
    """The JSON Schema of a job spec."""
    return JSONResponse(JobSpec.model_json_schema(), media_type="application/schema+json")


@router.get("/workers", tags=["who works"])
def get_workers(services: Used) -> dict[str, Any]:
    """Live workers, and what they are busy with."""
    own = [{**worker.__dict__, "versions": dict(worker.versions), "jobs": list(worker.jobs)} for worker in services.workers.workers()]
    return {"data": own}


def _sha256(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}

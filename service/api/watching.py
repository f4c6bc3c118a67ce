"""The endpoints that tell of one job while it runs, and afterwards: events, metrics, logs."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic_core import to_json

from service import use_cases
from service.api.auth import reading, while_let_in
from service.api.compressing import compressed
from service.api.parts import LARGEST, After, Name, Project, Used, Watched
from service.api.places import EventStream
from service.api.problems import responses
from service.api.streams import event_stream
from service.api.views import EventPage, EventView, MetricRows
from service.jobs.steps import STEP_COLUMNS

router = APIRouter(prefix="/v1", responses=responses(401, 403, 422, 503))


@router.get(
    "/jobs/{job_id}/events",
    dependencies=[Depends(reading)],
    response_model=EventPage,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **responses(404)},
    tags=["watching"],
)
def list_events(
    job_id: Name,
    request: Request,
    project: Project,
    services: Used,
    changes: Watched,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST)] = None,
) -> Response | EventPage:
    """What happened, oldest first. With `Accept: text/event-stream` a live stream that ends after the terminal event."""
    job = services.jobs.find(project, job_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        state, first = request.app.state, last_event_id if last_event_id is not None else after
        stream = event_stream(job, after=first, services=services, changes=changes, readings=state.readings)
        return EventStream(
            while_let_in(request, stream), places=state.places, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
    found = use_cases.events(job, after=after, limit=limit, services=services)
    return EventPage(data=[EventView(**event) for event in found])


@router.get(
    "/jobs/{job_id}/metrics",
    dependencies=[Depends(reading)],
    response_model=MetricRows,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **responses(404)},
    tags=["watching"],
)
def list_metrics(
    job_id: Name,
    request: Request,
    project: Project,
    services: Used,
    per: Annotated[
        Literal["epoch", "step"],
        Query(description="a row per finished epoch, or per logged step: {step, epoch, train_loss, lr}, `epoch` counted from 1"),
    ] = "epoch",
    after: Annotated[int, Query(ge=-1, le=LARGEST, description="rows with a greater `step` only: what is new since the last answer")] = -1,
    points: Annotated[
        int | None,
        Query(
            ge=2, le=100_000, description="at most so many rows, for drawing: of equal buckets those where a metric is least and greatest"
        ),
    ] = None,
    format: Literal["json", "csv"] = "json",
) -> Response:
    """A row per finished epoch or per logged step, oldest first, as JSON or (`?format=csv` or `Accept: text/csv`) CSV."""
    job = services.jobs.find(project, job_id)
    rows = use_cases.curve(job, per=per, after=after, points=points, services=services)
    if format != "csv" and "text/csv" not in request.headers.get("accept", ""):
        return compressed(request, to_json({"data": rows}), media_type="application/json")
    out = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row)) or list(STEP_COLUMNS if per == "step" else ())
    table = csv.DictWriter(out, columns)
    table.writeheader()
    table.writerows(rows)
    return compressed(request, out.getvalue().encode(), media_type="text/csv")


@router.get(
    "/jobs/{job_id}/logs", dependencies=[Depends(reading)], response_class=PlainTextResponse, responses=responses(404), tags=["watching"]
)
def get_logs(job_id: Name, project: Project, services: Used, tail: Annotated[int | None, Query(ge=1, le=LARGEST)] = None) -> str:
    """The job's log lines."""
    lines = use_cases.logs(services.jobs.find(project, job_id), services=services)
    return "".join(f"{line}\n" for line in (lines[-tail:] if tail else lines))

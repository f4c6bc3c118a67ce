"""The endpoints that tell of one job while it runs, and afterwards: events, metrics, logs."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from service import use_cases
from service.api.auth import reading, while_let_in
from service.api.compressing import compressed
from service.api.dressing import written
from service.api.parts import LARGEST, After, Name, Project, Used, Watched
from service.api.places import EventStream
from service.api.problems import responses
from service.api.shortcuts import UP, Asked, Shortcut, about_a_job
from service.api.streams import event_stream
from service.api.views import EventPage, EventView, MetricRows
from service.jobs.rows import json_list
from service.jobs.steps import STEP_COLUMNS
from service.use_cases import Services

router = APIRouter(prefix="/v1", responses=responses(401, 403, 422, 503))
EVENTS = 200
"""In a page, where nobody says how many."""


@router.get(
    "/jobs/{job_id}/events",
    dependencies=[Depends(reading)],
    response_model=EventPage,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **responses(404)},
    tags=["watching"],
)
async def list_events(
    job_id: Name,
    request: Request,
    project: Project,
    services: Used,
    changes: Watched,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = EVENTS,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST)] = None,
) -> Response:
    """What happened, oldest first. With `Accept: text/event-stream` a live stream that ends after the terminal event."""
    if "text/event-stream" in request.headers.get("accept", ""):
        state, first = request.app.state, last_event_id if last_event_id is not None else after
        await state.stamps.of(project, job_id)  # thousands come at once when a network is back: no thread for each
        stream = event_stream(use_cases.Named(project, job_id), after=first, services=services, changes=changes, readings=state.readings)
        return EventStream(
            while_let_in(request, stream), places=state.places, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
    return await run_in_threadpool(_events, project, job_id, after=after, limit=limit, services=services)


def _events(project: str, job_id: str, *, after: int, limit: int, services: Services) -> Response:
    found = use_cases.events(use_cases.Named(project, job_id), after=after, limit=limit, services=services)
    return written(EventPage(data=[EventView(**event) for event in found]))


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
    job, as_json = use_cases.Named(project, job_id), format != "csv" and "text/csv" not in request.headers.get("accept", "")
    if as_json and per == "epoch" and points is None:  # what is asked all the time while a job trains
        lines = use_cases.metric_lines(job, after=after, services=services)
        return compressed(request, b'{"data":' + json_list(lines) + b"}", media_type="application/json")
    rows = use_cases.curve(job, per=per, after=after, points=points, services=services)
    if as_json:
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
def get_logs(job_id: Name, project: Project, services: Used, tail: Annotated[int | None, Query(ge=1, le=LARGEST)] = None) -> Response:
    """The job's log lines."""
    lines = use_cases.logs(use_cases.Named(project, job_id), last=tail, services=services)
    return PlainTextResponse("".join(f"{line}\n" for line in lines))


def _events_asked(asked: Asked) -> Response:
    return _events(asked.project, services=asked.services, **{"after": 0, "limit": EVENTS, **asked.chosen})


def _metrics_asked(asked: Asked) -> Response:
    return list_metrics(request=asked.request, project=asked.project, services=asked.services, **asked.chosen)


def _logs_asked(asked: Asked) -> Response:
    return get_logs(project=asked.project, services=asked.services, **asked.chosen)


SHORTCUTS = (
    Shortcut("/v1/jobs/{job_id}/metrics", about_a_job(_metrics_asked), numbers={"after": UP, "points": (2, 100_000)}, but_as=b"text/csv"),
    Shortcut(
        "/v1/jobs/{job_id}/events", about_a_job(_events_asked), numbers={"after": UP, "limit": (1, 1000)}, but_as=b"text/event-stream"
    ),
    Shortcut("/v1/jobs/{job_id}/logs", about_a_job(_logs_asked), numbers={"tail": (1, LARGEST)}),
)

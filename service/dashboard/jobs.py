"""The pages of jobs: the list, one job, and the parts of them that change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service import use_cases
from service.api.auth import principal_of, reading
from service.api.compressing import takes_gzip
from service.api.dressing import dressed
from service.api.parts import Apart, At, Name, Project, Used, Words
from service.api.problems import Refused
from service.api.shortcuts import Chosen, Shortcut, asked
from service.api.views import JobView
from service.api.webhooks import delivery_view
from service.dashboard.highlighting import as_yaml, highlighted
from service.dashboard.pages import is_fragment, page
from service.dashboard.results import results_of
from service.dashboard.routing import as_page, pages
from service.dashboard.sparks import Sparks, key_metric, monitored
from service.jobs.errors import ArtifactNotFound, TrainyardError
from service.jobs.job import Job
from service.jobs.state import JobState
from service.use_cases import Services

SHOWN = 50
LOG_LINES = 300
FAILED_SHOWN = 3
LATELY = timedelta(days=2)

FITS = {"Digits": "digits", **dict.fromkeys(("MNIST", "EMNIST", "QMNIST", "KMNIST"), "mnist")}
"""How the samples of data sets of single characters fill their square."""

router = pages()


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What the list is narrowed to, as its address says."""

    q: str = ""
    state: JobState | None = None
    sort: str = ""
    cursor: str | None = None

    @property
    def narrows(self) -> bool:
        """Whether anything is left out."""
        return bool(self.q or self.state)


@router.get("/", dependencies=[Depends(reading)])
def jobs_page(
    request: Request,
    project: Project,
    services: Used,
    q: Words = "",
    state: Annotated[str, Query(pattern=f"^({'|'.join(JobState)})?$")] = "",
    sort: Words = "",
    cursor: At = None,
) -> Response:
    """Every job, newest first; to htmx only what changes of the page."""
    filters = Filters(q=q.strip(), state=JobState(state) if state else None, sort=sort, cursor=cursor)
    try:
        found = services.jobs.list(
            project,
            limit=SHOWN,
            cursor=cursor,
            states=[filters.state] if filters.state else (),
            text=filters.q or None,
            sort=filters.sort or "created_at",
        )
    except ValueError as error:
        raise Refused(422, "bad-address", str(error)) from error
    jobs = [dressed(job, services, alone=False) for job in found.jobs]
    counts = services.jobs.counts(project)
    shown: dict[str, Any] = {
        "jobs": jobs,
        "next_cursor": found.next_cursor,
        "only_newest": found.only_newest,
        "filters": filters,
        "counts": counts,
        "total": sum(counts.values()),
        "failed": _lately_failed(project, services) if counts[JobState.FAILED] and not (filters.narrows or cursor) else [],
        "slots": sum(worker.slots for worker in services.workers.workers()),
        "states": list(JobState),
        "key_metric": key_metric,
        "monitored": monitored,
    }
    return page("jobs/list.html" if is_fragment(request) else "jobs/index.html", request, **shown)


def _lately_failed(project: str, services: Services) -> Sequence[JobView]:
    """The newest failures, as long as they are news."""
    failed = services.jobs.list(project, limit=FAILED_SHOWN, cursor=None, states=[JobState.FAILED]).jobs
    since = services.now() - LATELY
    return [dressed(job, services, alone=False) for job in failed if job.finished_at and job.finished_at > since]


@router.get("/ui/sparks", dependencies=[Depends(reading)])
def sparks(request: Request, project: Project, services: Used, job: Annotated[list[Words], Query(max_length=SHOWN)]) -> Mapping[str, Any]:
    """For each job the metric that tells most, and its course: {id: {name, values}}."""
    drawn: Sparks = request.app.state.sparks
    return drawn.of(project, job, services=services)


@router.get("/jobs/{job_id}", dependencies=[Depends(reading)])
def job_page(job_id: Name, request: Request, project: Project, services: Used) -> Response:
    """One job, whole."""
    job = services.jobs.find(project, job_id)
    return page("jobs/job.html", request, job=dressed(job, services), terminal=job.is_terminal, title=job.name or job.id)


@router.get("/ui/jobs/{job_id}/head", dependencies=[Depends(reading)])
def head(job_id: Name, request: Request, project: Project, services: Used) -> Response:
    """Where it stands."""
    return page("jobs/head.html", request, job=dressed(services.jobs.find(project, job_id), services))


async def _head_asked(request: Request, chosen: Chosen) -> Response:
    _, project, services, _ = await asked(request, chosen)
    state, job_id = request.app.state, chosen["job_id"]
    stamp = await state.stamps.of(project, job_id)
    make = partial(head, job_id, request, project, services)
    if stamp.state is JobState.QUEUED:  # when it starts goes by others, too
        return await run_in_threadpool(make)
    # what it shows of buttons goes by who asks
    of = ("head", await principal_of(request), project, job_id, takes_gzip(request), getattr(request.state, "csrf_token", None))
    shown: Response = await state.remembered.answer(of, stamp.text, make)
    return shown


SHORTCUTS = (Shortcut("/ui/jobs/{job_id}/head", as_page(_head_asked)),)


@router.get("/ui/jobs/{job_id}/layers", dependencies=[Depends(reading)])
async def layers(job_id: Name, request: Request, project: Project, services: Used, rooms: Apart) -> Response:
    """Its model, layer by layer."""
    return await rooms.checking.run(_layers, job_id, request, project, services)


def _layers(job_id: str, request: Request, project: str, services: Services) -> Response:
    job = services.jobs.find(project, job_id)
    verdict, why = None, ""
    try:
        verdict = use_cases.validate(job.spec, project=project, services=services)
    except TrainyardError as error:
        why = str(error)
    return page("jobs/layers.html", request, verdict=verdict, why=why, job_id=job_id)


@router.get("/ui/jobs/{job_id}/results", dependencies=[Depends(reading)])
def results(job_id: Name, request: Request, project: Project, services: Used) -> Response:
    """How it was evaluated."""
    job = services.jobs.find(project, job_id)
    return page("jobs/results.html", request, job_id=job_id, found=results_of(job, services=services))


@router.get("/ui/jobs/{job_id}/try", dependencies=[Depends(reading)])
def try_it(job_id: Name, request: Request, project: Project, services: Used) -> Response:
    """A place to ask the trained model."""
    job = services.jobs.find(project, job_id)
    return page("jobs/try.html", request, job_id=job_id, question=_question(job))


@router.get("/ui/jobs/{job_id}/log", dependencies=[Depends(reading)])
def log(job_id: Name, request: Request, project: Project, services: Used) -> Response:
    """The end of its log."""
    lines = use_cases.logs(use_cases.Named(project, job_id), services=services)
    return page("jobs/log.html", request, lines=lines[-LOG_LINES:], more=max(0, len(lines) - LOG_LINES), job_id=job_id)


@router.get("/ui/jobs/{job_id}/files", dependencies=[Depends(reading)])
def files(job_id: Name, request: Request, project: Project, services: Used) -> Response:
    """What it left, to take home."""
    job = services.jobs.find(project, job_id)
    there = use_cases.manifest(job, artifacts=services.artifacts) if job.is_terminal else []
    return page(
        "jobs/files.html", request, job=dressed(job, services), files=there, checkpoints=use_cases.checkpoints(job, services=services)
    )


@router.get("/ui/jobs/{job_id}/deliveries", dependencies=[Depends(reading)])
def deliveries(job_id: Name, request: Request, project: Project, services: Used) -> Response:
    """Who was told of it, and how that went."""
    found = [delivery_view(each) for each in use_cases.deliveries(project, job_id, services=services)]
    return page("jobs/deliveries.html", request, job_id=job_id, deliveries=found)


@router.get("/ui/jobs/{job_id}/spec", dependencies=[Depends(reading)])
def spec(job_id: Name, request: Request, project: Project, services: Used) -> Response:
    """What was asked for, and what it came to mean."""
    job = services.jobs.find(project, job_id)
    told: dict[str, Any] = {
        "spec": highlighted(as_yaml(job.spec), "yaml"),
        "resolved": highlighted(as_yaml(job.resolved_spec), "yaml") if job.resolved_spec else None,
    }
    return page("jobs/spec.html", request, job_id=job_id, **told)


@router.get("/ui/jobs/{job_id}/program", dependencies=[Depends(reading)])
async def program(job_id: Name, request: Request, project: Project, services: Used, rooms: Apart) -> Response:
    """The textbook's program that gives the same weights: the job's own once it has ended, until then the one that its spec says."""
    return await rooms.checking.run(_program, job_id, request, project, services)


def _program(job_id: str, request: Request, project: str, services: Services) -> Response:
    job = services.jobs.find(project, job_id)
    own = _own_program(job, services)
    text, why = own, ""
    if text is None:
        try:
            text = use_cases.script(job.spec, project=project, services=services)
        except TrainyardError as error:
            why = str(error)
    return page("jobs/program.html", request, job_id=job_id, own=own is not None, program=highlighted(text or "", "python"), why=why)


def _own_program(job: Job, services: Services) -> str | None:
    if not job.is_terminal:
        return None
    try:
        use_cases.artifact(job, "train.py", artifacts=services.artifacts)
    except ArtifactNotFound:
        return None
    return b"".join(use_cases.read_artifact(job, "train.py", start=0, end=None, artifacts=services.artifacts)).decode()


def _question(job: Job) -> Mapping[str, Any]:
    """What can be asked of the model: an image of a shape, a row with these columns, or numbers."""
    resolved = job.resolved_spec or {}
    dataset = resolved.get("dataset", {})
    content = dataset.get("content") or {}
    if job.state is not JobState.SUCCEEDED:
        return {"kind": "none"}
    if content.get("samples") == "rows":
        labels = dataset.get("label_columns") or []
        left_out = {labels} if isinstance(labels, str) else set(labels)
        taken = dataset.get("feature_columns") or [
            column["name"] for column in content.get("columns", ()) if column["name"] not in left_out
        ]
        return {"kind": "row", "columns": [column for column in content.get("columns", ()) if column["name"] in taken]}
    return {"kind": "numbers"} if content.get("samples") == "numbers" else {"kind": "image", "fit": FITS.get(dataset.get("type"), "")}

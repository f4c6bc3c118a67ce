"""The page that lays runs side by side: curves, scores, facts, and what their specs differ in."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from service import use_cases
from service.api.dressing import dressed
from service.api.parts import Project, Used
from service.api.views import JobView
from service.dashboard.differing import differences, in_words
from service.dashboard.pages import page
from service.dashboard.routing import pages
from service.jobs.errors import JobNotFound, TrainyardError
from service.spec.job import read_parts
from service.spec.monitors import better
from service.use_cases import Services

MOST_RUNS = 100
COLOURS = 12
"""As many as charts.js and pages.css have."""
CHOICES = 30
REMEMBERED = 5000
AT_ONCE = 4
APART = frozenset({"/name", "/dataset/content"})
"""What stands in the heading, and what the service found in the data: their version says whether they are the same."""
LOWER, HIGHER = frozenset({"peak_memory_bytes", "train_seconds"}), frozenset({"samples_per_second"})

router = pages()
Chosen = Annotated[list[str] | None, Query(alias="job", max_length=MOST_RUNS)]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One job of the comparison, and the colour that is its own."""

    job: JobView
    colour: int
    remove: str
    """Where the page is without it; the others keep their colours."""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.job.name or self.job.id


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One metric's values, a run each, and the places of the best of them."""

    name: str
    values: Sequence[float | None]
    best: frozenset[int]


class Parameters:
    """How many parameters jobs' models have: a spec never changes, so each is checked once."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self._askers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="parameters")

    def known(self, jobs: Sequence[JobView]) -> list[int | None]:
        """What needs no check."""
        with self._lock:
            return [self._known.get(job.id) for job in jobs]

    def of(self, project: str, jobs: Sequence[JobView], *, services: Services) -> list[int | None]:
        """One number for each; None where it cannot be told now."""
        return list(self._askers.map(partial(self._one, project, services=services), jobs))

    def _one(self, project: str, job: JobView, *, services: Services) -> int | None:
        with self._lock:
            if job.id in self._known:
                return self._known[job.id]
        try:
            found = use_cases.validate(job.spec, project=project, services=services).num_parameters
        except TrainyardError:
            return None
        if found is not None:
            with self._lock:
                self._known[job.id] = found
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return found


@router.get("/compare")
def compare_page(request: Request, project: Project, services: Used, job: Chosen = None) -> Response:
    """Runs side by side; without any, a choice of them."""
    runs, gone = _runs(project, job or [], services=services)
    if not runs:
        return page("compare/choose.html", request, choices=_choices(project, "", services=services)[:CHOICES], gone=gone)
    known: Parameters = request.app.state.parameters
    shown: dict[str, Any] = {
        "query": _query(job or []),
        "rows": differences([_whole(run.job) for run in runs], without=APART),
        "in_words": in_words,
        "parameters": known.known([run.job for run in runs]),
    }
    return page("compare/index.html", request, gone=gone, **_results(runs, services), **shown)


@router.get("/ui/compare/tables")
def tables(request: Request, project: Project, services: Used, job: Chosen = None) -> Response:
    """How the runs stand."""
    runs, _ = _runs(project, job or [], services=services)
    known: Parameters = request.app.state.parameters
    parameters = known.of(project, [run.job for run in runs], services=services)
    return page("compare/tables.html", request, parameters=parameters, **_results(runs, services))


@router.get("/ui/compare/choices")
def choices(request: Request, project: Project, services: Used, job: Chosen = None, q: str = "") -> Response:
    """Jobs that could be added, each with where the page is then."""
    there = job or []
    found = [each for each in _choices(project, q, services=services) if each.id not in there][:CHOICES]
    return page("compare/choices.html", request, choices=[(each, _with(there, each.id)) for each in found], q=q)


def _results(runs: Sequence[Run], services: Services) -> Mapping[str, Any]:
    jobs = [run.job for run in runs]
    return {"runs": runs, "scores": scores(jobs), "lasted": [_lasted(job, services) for job in jobs]}


def scores(jobs: Sequence[JobView]) -> list[Scores]:
    """Every metric that any of the jobs has, losses and scores first, each with its best values."""
    names = dict.fromkeys(name for job in jobs for name in job.metrics)
    return [_scores(name, [job.metrics.get(name) for job in jobs]) for name in sorted(names, key=_rank)]


def _scores(name: str, values: Sequence[float | None]) -> Scores:
    way = "min" if name in LOWER else "max" if name in HIGHER else better(name)
    there = [value for value in values if value is not None]
    if way is None or len(set(there)) < 2:
        return Scores(name=name, values=values, best=frozenset())
    best = min(there) if way == "min" else max(there)
    return Scores(name=name, values=values, best=frozenset(at for at, value in enumerate(values) if value == best))


def _rank(name: str) -> tuple[int, str, str]:
    split, _, value = name.partition("_")
    order = ("test", "val", "train")
    if split not in order or name == "train_seconds":
        return len(order), "", name
    return order.index(split), {"loss": "0", "accuracy": "1"}.get(value, "2"), value


def _runs(project: str, ids: Sequence[str], *, services: Services) -> tuple[list[Run], list[str]]:
    """The runs in the order of the address, and those that are not there any more. An empty place keeps a colour free."""
    found: list[Run] = []
    gone: list[str] = []
    for colour, job_id in enumerate(ids):
        if not job_id or job_id in ids[:colour]:
            continue
        try:
            job = dressed(services.jobs.find(project, job_id), services, alone=False)
        except JobNotFound:
            gone.append(job_id)
            continue
        found.append(Run(job=job, colour=colour % COLOURS, remove=_without(ids, job_id)))
    return found, gone


def _query(ids: Sequence[str]) -> str:
    return urlencode([("job", each) for each in ids])


def _without(ids: Sequence[str], job_id: str) -> str:
    left = ["" if each == job_id else each for each in ids]
    while left and not left[-1]:
        left.pop()
    return f"/compare?{_query(left)}" if left else "/compare"


def _with(ids: Sequence[str], job_id: str) -> str:
    free = ids.index("") if "" in ids else len(ids)
    return f"/compare?{_query([*ids[:free], job_id, *ids[free + 1 :]])}"


def _choices(project: str, q: str, *, services: Services) -> list[JobView]:
    """The newest jobs, or those in whose name, id, labels or data set the words stand."""
    found = services.jobs.list(project, limit=CHOICES + MOST_RUNS, cursor=None, text=q.strip() or None)
    return [dressed(each, services, alone=False) for each in found.jobs]


def _lasted(job: JobView, services: Services) -> timedelta | None:
    return None if job.started_at is None else (job.finished_at or services.now()) - job.started_at


def _whole(job: JobView) -> Mapping[str, Any]:
    """The spec with every default, also where no worker has resolved it yet."""
    if job.resolved_spec is not None:
        return job.resolved_spec
    spec, _ = read_parts(job.spec)
    return job.spec if spec is None else spec.model_dump(mode="json")

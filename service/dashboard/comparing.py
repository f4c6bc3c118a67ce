"""The page that lays runs side by side: curves, scores, facts, and what their specs differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response

from service.api.auth import reading
from service.api.dressing import dressed
from service.api.parts import Apart, Project, Used, Words
from service.api.views import JobView
from service.dashboard.differing import differences, in_words
from service.dashboard.pages import page
from service.dashboard.parameters import Parameters
from service.dashboard.routing import pages
from service.dashboard.scoring import from_best, scores
from service.jobs.errors import JobNotFound
from service.spec.job import read_parts
from service.use_cases import Services

MOST_RUNS = 100
COLOURS = 12
"""As many as charts.js and pages.css have."""
CHOICES = 30
APART = frozenset({"/name", "/dataset/content"})
"""What stands in the heading, and what the service found in the data: their version says whether they are the same."""

router = pages()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What an address asks for. An empty place among the ids keeps a colour free: whoever takes a run away leaves the others theirs."""

    ids: Sequence[str]
    by: str = ""
    """The metric whose best run stands first; as the address has them where empty."""

    @property
    def query(self) -> str:
        """As in an address."""
        return urlencode([*(("job", each) for each in self.ids), *([("by", self.by)] if self.by else [])])

    def without(self, job_id: str) -> str:
        """Where the page is without a run."""
        left = ["" if each == job_id else each for each in self.ids]
        while left and not left[-1]:
            left.pop()
        return _address(left, self.by) if left else "/compare"

    def having(self, job_id: str) -> str:
        """Where the page is with another run."""
        free = self.ids.index("") if "" in self.ids else len(self.ids)
        return _address([*self.ids[:free], job_id, *self.ids[free + 1 :]], self.by)

    def sorted_by(self, name: str) -> str:
        """Where the page is in another order."""
        return _address(self.ids, name)


def _address(ids: Sequence[str], by: str) -> str:
    return f"/compare?{Comparison(ids=ids, by=by).query}"


def _asked(job: Annotated[list[Words] | None, Query(max_length=MOST_RUNS)] = None, by: Words = "") -> Comparison:
    return Comparison(ids=job or [], by=by)


Asked = Annotated[Comparison, Depends(_asked)]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One job of the comparison, the colour that is its own, and how long it lasted so far."""

    job: JobView
    colour: int
    lasted: timedelta | None

    @property
    def title(self) -> str:
        """What it is called."""
        return self.job.name or self.job.id


@router.get("/compare", dependencies=[Depends(reading)])
def compare_page(request: Request, project: Project, services: Used, asked: Asked) -> Response:
    """Runs side by side; without any, a choice of them."""
    runs, gone = _runs(project, asked, services=services)
    if not runs:
        return page("compare/choose.html", request, choices=_choices(project, "", services=services)[:CHOICES], gone=gone)
    known: Parameters = request.app.state.parameters
    rows = differences([_whole(run.job) for run in runs], without=APART)
    told = _told(asked, runs, known.known([run.job for run in runs]))
    return page("compare/index.html", request, gone=gone, rows=rows, in_words=in_words, **told)


@router.get("/ui/compare/tables", dependencies=[Depends(reading)])
async def tables(request: Request, project: Project, services: Used, asked: Asked, rooms: Apart) -> Response:
    """How the runs stand."""
    return await rooms.checking.run(_tables, request, project, services, asked)


def _tables(request: Request, project: str, services: Services, asked: Comparison) -> Response:
    runs, _ = _runs(project, asked, services=services)
    known: Parameters = request.app.state.parameters
    parameters = known.of(project, [run.job for run in runs], services=services)
    return page("compare/tables.html", request, **_told(asked, runs, parameters))


@router.get("/ui/compare/choices", dependencies=[Depends(reading)])
def choices(request: Request, project: Project, services: Used, asked: Asked, q: Words = "") -> Response:
    """Jobs that could be added, each with where the page is then."""
    found = [each for each in _choices(project, q, services=services) if each.id not in asked.ids][:CHOICES]
    return page("compare/choices.html", request, choices=[(each, asked.having(each.id)) for each in found], q=q)


def _told(asked: Comparison, runs: Sequence[Run], parameters: Sequence[int | None]) -> Mapping[str, Any]:
    return {"asked": asked, "runs": runs, "scores": scores([run.job.metrics for run in runs]), "parameters": parameters}


def _runs(project: str, asked: Comparison, *, services: Services) -> tuple[list[Run], list[str]]:
    """The runs in their order, and those that are not there any more."""
    found: list[Run] = []
    gone: list[str] = []
    for colour, job_id in enumerate(asked.ids):
        if not job_id or job_id in asked.ids[:colour]:
            continue
        try:
            job = dressed(services.jobs.find(project, job_id), services, alone=False)
        except JobNotFound:
            gone.append(job_id)
            continue
        lasted = None if job.started_at is None else (job.finished_at or services.now()) - job.started_at
        found.append(Run(job=job, colour=colour % COLOURS, lasted=lasted))
    if asked.by:
        found = [found[place] for place in from_best([run.job.metrics for run in found], asked.by)]
    return found, gone


def _choices(project: str, q: str, *, services: Services) -> list[JobView]:
    """The newest jobs, or those in whose name, id, labels or data set the words stand."""
    found = services.jobs.list(project, limit=CHOICES + MOST_RUNS, cursor=None, text=q.strip() or None)
    return [dressed(each, services, alone=False) for each in found.jobs]


def _whole(job: JobView) -> Mapping[str, Any]:
    """The spec with every default, also where no worker has resolved it yet."""
    if job.resolved_spec is not None:
        return job.resolved_spec
    spec, _ = read_parts(job.spec)
    return job.spec if spec is None else spec.model_dump(mode="json")

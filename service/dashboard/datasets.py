"""The pages of data sets that somebody brought: what there is, what is in each, which jobs learn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from service import use_cases
from service.api.auth import reading
from service.api.dressing import dressed
from service.api.parts import Name, Project, Used
from service.api.views import JobView
from service.dashboard.highlighting import as_yaml
from service.dashboard.pages import page
from service.dashboard.routing import pages
from service.datasets.record import DatasetState, DatasetVersion, chosen
from service.spec.content import Content, Split
from service.use_cases import Services

JOBS_SHOWN = 50
MOST_CLASSES = 200
"""Of more classes the first ones are drawn."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

router = pages()
Version = Annotated[str | None, Query(max_length=100)]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One class's samples; `parts` are (split, percent from the left, percent wide) on a scale that all bars share."""

    name: str
    counts: Mapping[Split, int]
    total: int
    parts: Sequence[tuple[Split, float, float]]


@router.get("/datasets", dependencies=[Depends(reading)])
def datasets_page(request: Request, project: Project, services: Used) -> Response:
    """Every data set, and a place to drop another one."""
    return page("datasets/index.html", request, groups=_groups(project, services), in_short=in_short, most=services.upload_bytes)


@router.get("/ui/datasets", dependencies=[Depends(reading)])
def datasets_list(request: Request, project: Project, services: Used) -> Response:
    """Every data set."""
    return page("datasets/list.html", request, groups=_groups(project, services), in_short=in_short)


@router.get("/datasets/{name}", dependencies=[Depends(reading)])
def dataset_page(name: Name, request: Request, project: Project, services: Used, version: Version = None) -> Response:
    """One data set."""
    return page("datasets/dataset.html", request, **_told(project, name, version, services))


@router.get("/ui/datasets/{name}", dependencies=[Depends(reading)])
def dataset_part(name: Name, request: Request, project: Project, services: Used, version: Version = None) -> Response:
    """What changes of its page."""
    return page("datasets/version.html", request, **_told(project, name, version, services))


@router.get("/ui/datasets/{name}/jobs", dependencies=[Depends(reading)])
def dataset_jobs(name: Name, request: Request, project: Project, services: Used) -> Response:
    """The jobs that learn from it. Every job may have to be looked at, so it is asked for seldom."""
    return page("datasets/jobs.html", request, jobs=_learning(project, name, services))


def _groups(project: str, services: Services) -> list[tuple[DatasetVersion, int]]:
    """The version of each data set that a job would get, and how many there are."""
    by_name = groupby(use_cases.all_datasets(project, services=services), key=lambda each: each.name)
    return [(chosen(versions, name, None), len(versions)) for name, versions in ((name, list(group)) for name, group in by_name)]


def _told(project: str, name: str, version: str | None, services: Services) -> Mapping[str, Any]:
    found = use_cases.find_dataset(project, name, version, services=services)
    versions = [each for each in use_cases.all_datasets(project, services=services) if each.name == name]
    return {
        "dataset": found,
        "asked": version,
        "versions": versions,
        "bars": bars(found.content) if found.content else [],
        "more_classes": max(0, len(found.content.classes) - MOST_CLASSES) if found.content else 0,
        "splits": [split for split in SPLITS if found.content and split in found.content.sizes],
        "in_short": in_short,
        "snippet": snippet(found),
    }


def bars(content: Content) -> list[Bar]:
    """The samples of each class, drawn to one scale."""
    totals = {name: sum(content.counts.get(name, {}).values()) for name in content.classes[:MOST_CLASSES]}
    most = max(totals.values(), default=0)
    if not most:
        return []
    found = []
    for name, total in totals.items():
        counts, left = content.counts.get(name, {}), 0.0
        parts = []
        for split in SPLITS:
            wide = 100 * counts.get(split, 0) / most
            if wide:
                parts.append((split, round(left, 2), round(wide, 2)))
                left += wide
        found.append(Bar(name=name, counts=counts, total=total, parts=parts))
    return found


def snippet(version: DatasetVersion) -> str:
    """The part of a spec that trains on it; of a table the last column is taken to be what is to be learnt."""
    dataset: dict[str, Any] = {"type": "Upload", "name": version.name}
    content = version.content
    if content is not None and content.layout == "table" and content.columns:
        dataset["label_columns"] = content.columns[-1].name
    if content is not None and "validation" not in content.sizes:
        dataset["validation_split"] = 0.1
    if content is not None and content.samples == "images" and None in content.shape:
        numbers = [{"type": "ToImage"}, {"type": "ToDtype", "dtype": "float32", "scale": True}]
        dataset["transforms"] = [{"type": "Resize", "size": [64, 64]}, *numbers]
    return as_yaml({"dataset": dataset})


def _learning(project: str, name: str, services: Services) -> list[JobView]:
    """The newest jobs that learn from it."""
    # others may be called alike: flowers, flowers-small
    newest = services.jobs.list(project, limit=4 * JOBS_SHOWN, cursor=None, text=f"Upload {name}").jobs
    found = [job for job in newest if job.upload is not None and job.upload[0] == name]
    return [dressed(job, services, alone=False) for job in found[:JOBS_SHOWN]]


def in_short(version: DatasetVersion) -> str:
    """What it is, in a line."""
    content = version.content
    if content is None:
        return "is being looked at" if version.state is DatasetState.VALIDATING else "cannot be used"
    samples = sum(content.sizes.values())
    if content.layout == "table":
        return f"{samples:,} rows of {len(content.columns)} columns"
    shape = " \N{MULTIPLICATION SIGN} ".join("any" if side is None else str(side) for side in content.shape)
    classes = f", {len(content.classes)} {'labels' if content.labels == 'several' else 'classes'}" if content.classes else ""
    return f"{samples:,} {'images' if content.samples == 'images' else 'samples'} of {shape or 'one number'}{classes}"

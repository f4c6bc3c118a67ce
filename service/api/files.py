"""The endpoints that hand out what a job made: its artifacts, its checkpoints, its model's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from service import use_cases
from service.api.auth import reading
from service.api.dressing import written
from service.api.parts import LARGEST, Apart, FilePath, Name, Project, Used
from service.api.predicting import PREDICT_BODY, Prediction, question_of, samples_of
from service.api.problems import Refused, responses
from service.api.ranges import Unsatisfiable, parse_range
from service.api.shortcuts import Asked, Shortcut, about_a_job
from service.api.streams import zipped
from service.api.views import ArtifactPage, ArtifactView, CheckpointFile, CheckpointPage, CheckpointView
from service.use_cases import Services

router = APIRouter(prefix="/v1", responses=responses(401, 403, 422, 503))

AT_ONCE = 64 * 1024
"""Bytes that are read before they are sent: a stream would take a turn of a thread for each chunk."""


@router.get(
    "/jobs/{job_id}/artifacts",
    dependencies=[Depends(reading)],
    response_model=ArtifactPage,
    responses=responses(404, 409),
    tags=["artifacts"],
)
def list_artifacts(job_id: Name, project: Project, services: Used) -> Response:
    """The files of an ended job, with sizes and SHA-256."""
    job, here = services.jobs.find(project, job_id), f"/v1/jobs/{job_id}/artifacts"
    found = [
        ArtifactView(**file, url=f"{here}/{quote(file['path'])}", download_url=use_cases.artifact_url(job, file, services=services))
        for file in use_cases.manifest(job, artifacts=services.artifacts)
    ]
    return written(ArtifactPage(data=found))


@router.get(
    "/jobs/{job_id}/artifacts.zip",
    dependencies=[Depends(reading)],
    response_class=StreamingResponse,
    responses=responses(404, 409),
    tags=["artifacts"],
)
def get_artifacts_zip(job_id: Name, project: Project, services: Used) -> StreamingResponse:
    """Every artifact in one zip file."""
    job = services.jobs.find(project, job_id)
    files = use_cases.manifest(job, artifacts=services.artifacts)
    opened = ((file, use_cases.read_artifact(job, file["path"], start=0, end=None, artifacts=services.artifacts)) for file in files)
    return StreamingResponse(zipped(opened), media_type="application/zip", headers=_named(f"{job.id}.zip"))


@router.get(
    "/jobs/{job_id}/artifacts/{path:path}",
    dependencies=[Depends(reading)],
    response_class=StreamingResponse,
    responses=responses(404, 409, 416),
    tags=["artifacts"],
)
def get_artifact(
    job_id: Name,
    path: FilePath,
    project: Project,
    services: Used,
    range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One artifact's bytes; Range and If-None-Match are honoured."""
    job = services.jobs.find(project, job_id)
    file = use_cases.artifact(job, path, artifacts=services.artifacts)

    def read(start: int, end: int | None) -> Iterator[bytes]:
        return use_cases.read_artifact(job, path, start=start, end=end, artifacts=services.artifacts)

    return _file(file, read, kind=file["content_type"], range=range, known=if_none_match)


@router.get(
    "/jobs/{job_id}/checkpoints",
    dependencies=[Depends(reading)],
    response_model=CheckpointPage,
    responses=responses(404),
    tags=["artifacts"],
)
def list_checkpoints(job_id: Name, project: Project, services: Used) -> CheckpointPage:
    """The checkpoints that are kept, the newest first: while the job runs, and afterwards."""
    found = use_cases.checkpoints(services.jobs.find(project, job_id), services=services)
    return CheckpointPage(data=[_checkpoint(job_id, kept, services) for kept in found])


def _checkpoint(job_id: str, kept: use_cases.Kept, services: Services) -> CheckpointView:
    step, here = kept.pointer.step, f"/v1/jobs/{job_id}/checkpoints/{kept.pointer.step}"
    return CheckpointView(
        step=step,
        epoch=kept.pointer.epoch,
        attempt_token=kept.pointer.token,
        created_at=kept.created_at,
        size=sum(file["size"] for file in kept.files),
        best=kept.best,
        files=[
            CheckpointFile(
                **file, url=f"{here}/{quote(file['path'])}", download_url=use_cases.checkpoint_url(kept, file, services=services)
            )
            for file in kept.files
        ],
    )


@router.get(
    "/jobs/{job_id}/checkpoints/{step}/{path:path}",
    dependencies=[Depends(reading)],
    response_class=StreamingResponse,
    responses=responses(404, 416),
    tags=["artifacts"],
)
def get_checkpoint_file(
    job_id: Name,
    step: Annotated[int, Path(ge=0, le=LARGEST)],
    path: FilePath,
    project: Project,
    services: Used,
    range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One file of a checkpoint; Range and If-None-Match are honoured. 404 once a newer checkpoint has taken its place."""
    kept, file = use_cases.checkpoint_file(services.jobs.find(project, job_id), step, path, services=services)

    def read(start: int, end: int | None) -> Iterator[bytes]:
        return use_cases.read_checkpoint(kept, path, start=start, end=end, artifacts=services.artifacts)

    return _file(file, read, kind=use_cases.content_type(path), range=range, known=if_none_match)


def _file(
    file: Mapping[str, Any], read: Callable[[int, int | None], Iterator[bytes]], *, kind: str, range: str | None, known: str | None
) -> Response:
    """A file's bytes, or the part of them that is asked for, or 304 where they are `known`. `read` is given the first and last byte."""
    size, etag = file["size"], f'"{file["sha256"]}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", **_named(file["path"].rpartition("/")[2])}
    if known == etag:
        return Response(status_code=304, headers=headers)
    try:
        part = parse_range(range, size)
    except Unsatisfiable as error:
        raise Refused(416, "range-not-satisfiable", f"The file has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}) from error
    first, last = part or (0, size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    chunks, status = read(first, last if part else None), 206 if part else 200
    if last - first < AT_ONCE:
        return Response(b"".join(chunks), status_code=status, media_type=kind, headers=headers)
    return StreamingResponse(chunks, status_code=status, media_type=kind, headers=headers)


@router.post(
    "/jobs/{job_id}/predict",
    dependencies=[Depends(reading)],
    response_model=Prediction,
    responses=responses(404, 409, 413, 415),
    openapi_extra=PREDICT_BODY,
    tags=["artifacts"],
)
async def predict(
    job_id: Name,
    request: Request,
    project: Project,
    services: Used,
    rooms: Apart,
    resize: Annotated[bool, Query(description="make an image of another size fit")] = False,
) -> Prediction:
    """Ask the trained model: samples as JSON `{"inputs": [...]}`, one image as PNG or JPEG, rows of a table as CSV."""
    job = await run_in_threadpool(services.jobs.find, project, job_id)
    kind, data = await samples_of(request)
    question = await rooms.reading.run(question_of, kind, data, resize=resize)
    return Prediction(**await rooms.asking.run(use_cases.predict, job, question, services=services))


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def _manifest_asked(asked: Asked) -> Response:
    return list_artifacts(project=asked.project, services=asked.services, **asked.chosen)


def _turn_of_links(services: Services) -> int | None:
    return services.links.turn if services.links is not None else None


def _artifact_asked(asked: Asked) -> Response:
    return get_artifact(project=asked.project, services=asked.services, range=asked.request.headers.get("range"), **asked.chosen)


SHORTCUTS = (
    Shortcut("/v1/jobs/{job_id}/artifacts", about_a_job(_manifest_asked, while_same=_turn_of_links)),
    Shortcut("/v1/jobs/{job_id}/artifacts/{path:path}", about_a_job(_artifact_asked), but_for=frozenset({b"if-none-match"})),
)

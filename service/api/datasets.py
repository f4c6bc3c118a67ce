"""The endpoints under /v1/datasets."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service import use_cases
from service.api.auth import reading, submitting
from service.api.parts import Apart, Name, Project, Used
from service.api.problems import responses
from service.datasets.record import DatasetState, DatasetVersion
from service.jobs.errors import UploadRefused
from service.spec.content import Content, Flaw
from service.use_cases import Received

AT_ONCE = 2**20
"""Bytes that are written, and hashed, in one go: what lies in memory of an upload."""
ROOM = "Make room below TRAINYARD_SPOOL_DIR, or have it name a larger disk, and send it again."

router = APIRouter(prefix="/v1/datasets", responses=responses(401, 403, 422, 503), tags=["datasets"])


class DatasetView(BaseModel):
    """One version of an uploaded data set. `version` is the SHA-256 of its bytes."""

    name: str
    version: str
    state: DatasetState
    size: int
    created_at: str
    settled_at: str | None
    content: Content | None
    flaws: tuple[Flaw, ...]
    more_flaws: int
    links: dict[str, str]


class DatasetList(BaseModel):
    """Every version of every data set, by name, the newest first of each."""

    data: list[DatasetView]


def view(version: DatasetVersion) -> DatasetView:
    """The record as users see it."""
    own = f"/v1/datasets/{version.name}/{version.version}"
    plain = version.model_dump(mode="json", exclude={"project", "content", "flaws"})
    return DatasetView(
        **plain, content=version.content, flaws=version.flaws, links={"self": own, "upload": f"{own}/upload", "sheet": f"{own}/sheet.png"}
    )


UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A zip or tar (plain, gzip, bzip2, xz) of class folders, of images with a table of labels, or of IDX files; an npz; CSV or Parquet.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put(
    "/{name}",
    dependencies=[Depends(submitting)],
    status_code=202,
    response_model=DatasetView,
    responses=responses(413, 429, 507),
    openapi_extra=UPLOAD_BODY,
)
async def put_dataset(
    name: Name,
    request: Request,
    project: Project,
    services: Used,
    response: Response,
    rooms: Apart,
    x_content_sha256: Annotated[
        str | None, Header(max_length=64, description="The SHA-256 of the body, hex: what was damaged on its way is refused.")
    ] = None,
) -> DatasetView:
    """Upload a data set. It is looked at next: poll it until its state is `ready` or `invalid`. The same bytes are the same version (200)."""
    use_cases.check_name(name)
    told = int(request.headers.get("content-length") or 0)
    _check_size(told, services.upload_bytes)
    await run_in_threadpool(use_cases.check_room, told, project=project, name=name, services=services)
    try:
        with services.spool.file() as path:
            received = await _received(request, path, limit=services.upload_bytes)
            stored = await rooms.moving.run(
                use_cases.take_in, received, project=project, name=name, expected=x_content_sha256, services=services
            )
    except OSError as error:
        detail = f"The API's machine cannot keep the upload ({error.strerror}); nothing of it is kept. {ROOM}"
        raise UploadRefused("disk_full", detail) from error
    if stored.state is not DatasetState.VALIDATING:
        response.status_code = 200
    found = view(stored)
    response.headers["Location"] = found.links["self"]
    return found


async def _received(request: Request, path: Path, *, limit: int) -> Received:
    """The body in a file. Raises UploadRefused where it is too large or cut off, OSError where the disk does not take it."""
    digest, size, waiting = hashlib.sha256(), 0, bytearray()

    def write(out: BinaryIO, data: bytes) -> None:
        digest.update(data)
        left = memoryview(data)
        while left:  # a disk that is nearly full takes what it has room for, and says so only to the next write
            left = left[out.write(left) :]

    try:
        with path.open("wb", buffering=0) as out:
            async for chunk in request.stream():
                waiting += chunk
                size += len(chunk)
                _check_size(size, limit)
                if len(waiting) >= AT_ONCE:
                    await run_in_threadpool(write, out, bytes(waiting))
                    waiting.clear()
            await run_in_threadpool(write, out, bytes(waiting))
    except ClientDisconnect as error:
        raise UploadRefused("cut_off", f"The upload ended after {size:,} bytes; nothing of it is kept. Send it again.") from error
    return Received(path=path, size=size, sha256=digest.hexdigest())


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise UploadRefused("too_large", f"An upload may have {limit:,} bytes (TRAINYARD_UPLOAD_BYTES); this one has more.")


@router.get("", dependencies=[Depends(reading)], response_model=DatasetList)
def list_datasets(project: Project, services: Used) -> DatasetList:
    """Every version of every data set, by name, the newest first of each."""
    return DatasetList(data=[view(each) for each in use_cases.all_datasets(project, services=services)])


@router.get("/{name}", dependencies=[Depends(reading)], response_model=DatasetView, responses=responses(404))
def get_dataset(name: Name, project: Project, services: Used) -> DatasetView:
    """The newest version that is ready; the newest of all where none is."""
    return view(use_cases.find_dataset(project, name, None, services=services))


@router.get("/{name}/{version}", dependencies=[Depends(reading)], response_model=DatasetView, responses=responses(404))
def get_dataset_version(name: Name, version: Name, project: Project, services: Used) -> DatasetView:
    """One version, by its digest or at least eight digits of its beginning."""
    return view(use_cases.find_dataset(project, name, version, services=services))


@router.get("/{name}/{version}/upload", dependencies=[Depends(reading)], response_class=StreamingResponse, responses=responses(404))
def get_upload(name: Name, version: Name, project: Project, services: Used) -> StreamingResponse:
    """The bytes as they were uploaded."""
    found = use_cases.find_dataset(project, name, version, services=services)
    headers = {"Content-Length": str(found.size), "ETag": f'"{found.version}"', "Content-Disposition": f'attachment; filename="{name}"'}
    chunks = use_cases.read_dataset(found, "upload", artifacts=services.artifacts)
    return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)


@router.get("/{name}/{version}/sheet.png", dependencies=[Depends(reading)], response_class=Response, responses=responses(404))
def get_sheet(name: Name, version: Name, project: Project, services: Used) -> Response:
    """Some samples of each class, drawn small; only of images."""
    found = use_cases.find_dataset(project, name, version, services=services)
    return Response(b"".join(use_cases.read_dataset(found, "sheet.png", artifacts=services.artifacts)), media_type="image/png")


@router.delete("/{name}", dependencies=[Depends(submitting)], status_code=204, responses=responses(404, 409))
def delete_dataset(name: Name, project: Project, services: Used) -> None:
    """Remove every version. Refused while a job that has not ended needs one."""
    use_cases.remove_dataset(project, name, None, services=services)


@router.delete("/{name}/{version}", dependencies=[Depends(submitting)], status_code=204, responses=responses(404, 409))
def delete_dataset_version(name: Name, version: Name, project: Project, services: Used) -> None:
    """Remove one version. Refused while a job that has not ended needs it."""
    use_cases.remove_dataset(project, name, version, services=services)

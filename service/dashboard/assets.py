"""Scripts and styles: ours and what is vendored, read once, named by their digest so that browsers keep them for good."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

from service.api.auth import public

HERE = Path(__file__).parent
ROOTS = (HERE / "static", HERE / "vendor")
SERVED = {".js", ".css", ".svg", ".png"}
COMPRESSED = {".js", ".css", ".svg"}
ONE_YEAR = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    zipped: bytes | None
    kind: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """Every file that is served, by its path below the folders."""
    return {path.relative_to(root).as_posix(): _asset(path) for root in ROOTS for path in sorted(root.rglob("*")) if path.suffix in SERVED}


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    zipped = gzip.compress(body, mtime=0) if path.suffix in COMPRESSED else None
    kind = mimetypes.types_map[path.suffix]
    return Asset(body=body, zipped=zipped, kind=kind, digest=hashlib.sha256(body).hexdigest()[:12])


@cache
def bundle() -> str:
    """One name for all of ours: modules import one another by relative paths, so they change their address together."""
    return hashlib.sha256("".join(asset.digest for asset in assets().values()).encode()).hexdigest()[:12]


def address(path: str) -> str:
    """Where a file is served. Raises KeyError for one that is not there."""
    if path not in assets():
        raise KeyError(path)
    return f"/assets/{bundle()}/{path}"


@router.get("/assets/{version}/{path:path}", dependencies=[Depends(public)])
async def get_asset(version: str, path: str, request: Request) -> Response:
    """One file. An address of another version of the service is served too, but not kept."""
    asset = assets().get(path)
    if asset is None:
        raise HTTPException(404)
    headers = {
        "Cache-Control": ONE_YEAR if version == bundle() else "no-store",
        "Vary": "Accept-Encoding",
    }
    if asset.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.zipped, media_type=asset.kind, headers={**headers, "Content-Encoding": "gzip"})
    return Response(asset.body, media_type=asset.kind, headers=headers)

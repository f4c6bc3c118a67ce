"""Every error as RFC 9457 `application/problem+json`: one table from our errors to a status, and no traceback ever."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from service.access import errors as access
from service.access.quota import QuotaExceeded
from service.jobs import errors
from service.spec.faults import pointer
from service.spec.verdict import Fault, SpecFaults

log = logging.getLogger("trainyard")

STATUS: dict[type[errors.TrainyardError], tuple[int, str]] = {
    errors.JobNotFound: (404, "job-not-found"),
    errors.ArtifactNotFound: (404, "artifact-not-found"),
    errors.IllegalTransition: (409, "illegal-transition"),
    errors.StillNeeded: (409, "still-needed"),
    access.KeyNotFound: (404, "key-not-found"),
    access.ProjectNotFound: (404, "project-not-found"),
    access.ProjectExists: (409, "project-exists"),
    access.ProjectInUse: (409, "project-in-use"),
    access.ProjectChanged: (409, "project-changed"),
    QuotaExceeded: (429, "quota-exceeded"),
    access.KeyRefused: (422, "key-refused"),
    access.KeyEnded: (409, "key-revoked"),
    access.LastKey: (409, "last-key"),
    access.KeyChanged: (409, "key-changed"),
    errors.DatasetNotFound: (404, "dataset-not-found"),
    errors.DeliveryNotFound: (404, "delivery-not-found"),
    errors.LocalDataMissing: (404, "data-missing"),
    errors.DatasetInUse: (409, "dataset-in-use"),
    errors.Unpredictable: (422, "unpredictable"),
    errors.UploadRefused: (422, "upload-refused"),
    errors.NotFinished: (409, "not_finished"),
    errors.IdempotencyConflict: (422, "idempotency-conflict"),
    errors.SpecRejected: (422, "spec-rejected"),
    errors.StoreUnavailable: (503, "store-unavailable"),
    errors.StorageUnavailable: (503, "storage-unavailable"),
    errors.LookedAt: (503, "busy"),
    errors.PredictBusy: (503, "busy"),
    errors.PreflightBusy: (503, "busy"),
    errors.Unavailable: (503, "unavailable"),
}

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer, whatever it is."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

UPLOAD_STATUS = {"too_large": 413, "disk_full": 507}


def status_of(error: errors.TrainyardError) -> tuple[int, str]:
    """The HTTP status of an error of ours, and its name in addresses."""
    status, slug = next(found for kind, found in STATUS.items() if isinstance(error, kind))
    return (UPLOAD_STATUS.get(error.kind, status) if isinstance(error, errors.UploadRefused) else status), slug


class Problem(BaseModel):
    """What went wrong, for people and programs."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[Fault] = []


class Refused(Exception):
    """A request that the edge itself refuses."""

    def __init__(self, status: int, slug: str, detail: str, *, headers: dict[str, str] | None = None, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail, self.headers, self.faults = status, slug, detail, headers, faults


def problem(
    request: Request, status: int, slug: str, detail: str, *, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer itself."""
    body = Problem(
        type=f"/problems/{slug}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path,
        errors=list(faults),
    )
    return JSONResponse(body.model_dump(mode="json"), status_code=status, headers=headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Have every error leave as a problem."""

    @app.exception_handler(errors.TrainyardError)
    def ours(request: Request, error: errors.TrainyardError) -> JSONResponse:
        status, slug = status_of(error)
        faults = error.faults if isinstance(error, errors.SpecRejected) else [_of_quota(error)] if isinstance(error, QuotaExceeded) else ()
        of_spec = isinstance(error, errors.SpecRejected)
        detail = f"The spec has {len(faults)} fault{'s' if len(faults) != 1 else ''}." if of_spec else str(error)
        headers = {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, errors.Unavailable) else None
        return problem(request, status, slug, detail, faults=faults, headers=headers)

    @app.exception_handler(SpecFaults)
    def unreadable(request: Request, error: SpecFaults) -> JSONResponse:
        large = any(fault.code == "too_large" for fault in error.faults)
        return problem(
            request, 413 if large else 422, "too-large" if large else "spec-rejected", "The body cannot be read.", faults=error.faults
        )

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> JSONResponse:
        return problem(request, error.status, error.slug, error.detail, faults=error.faults, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [
            Fault(pointer=pointer(each["loc"][1:]), code=each["type"], detail=f"{each['loc'][-1]}: {each['msg']}.")
            for each in error.errors()
        ]
        return problem(request, 422, "bad-request", "The request cannot be understood.", faults=faults)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        headers = dict(error.headers) if error.headers else {}
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the framework names the methods of the first route only that fits
            headers["Allow"] = ", ".join(method for method in METHODS if _allows(app, request.scope, method))
        return problem(request, error.status_code, slug, str(error.detail), headers=headers)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        # this answer leaves outside of every middleware
        headers = {**SAFE_HEADERS, "X-Request-Id": request.state.request_id}
        return problem(request, 500, "internal", "This is a fault of the service; its log has the trace.", headers=headers)


def _of_quota(error: QuotaExceeded) -> Fault:
    """For programs."""
    return Fault(pointer="", code=f"quota_{error.quota}", detail=error.detail, suggestion=error.cure)


def _allows(app: FastAPI, scope: Scope, method: str) -> bool:
    return any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem answers of a route, for OpenAPI."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}

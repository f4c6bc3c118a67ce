"""Routes whose errors are pages: who is not signed in goes to the door, what is missing is said in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, ParamSpec

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from service.api.problems import Refused, status_of
from service.dashboard.pages import is_fragment, page
from service.dashboard.sessions import to_sign_in
from service.jobs.errors import TrainyardError

P = ParamSpec("P")


class PageRoute(APIRoute):
    """A route that answers a browser."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, with its errors dressed."""
        return as_page(super().get_route_handler())


def as_page(handle: Callable[P, Awaitable[Response]]) -> Callable[P, Coroutine[Any, Any, Response]]:
    """The handler of a request, its first argument, with its errors dressed."""

    async def answer(*args: P.args, **kwargs: P.kwargs) -> Response:
        request = args[0]
        assert isinstance(request, Request)  # noqa: S101  # so says the handler's type
        try:
            return await handle(*args, **kwargs)
        except Refused as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                return to_sign_in(request)
            return _told(request, error.status, error.detail, headers=error.headers)
        except TrainyardError as error:
            return _told(request, status_of(error)[0], str(error))
        except RequestValidationError as error:
            wrong = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
            return _told(request, 422, f"This address cannot be understood: {wrong}.")

    return answer


def pages() -> APIRouter:
    """A router of such routes, which the API's description leaves out."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)


def _told(request: Request, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> Response:
    template = "error_part.html" if is_fragment(request) else "error.html"
    answer = page(template, request, status=status, title=HTTPStatus(status).phrase, detail=detail)
    answer.headers.update(headers or {})
    return answer

"""Small JSON bodies, read only once whoever sends them has been let in: FastAPI itself would read them first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from service.api.problems import Refused

Model = TypeVar("Model", bound=BaseModel)
MAX_BYTES = 16_384


def posted(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency that gives the body as the model. Raises Refused (413), RequestValidationError."""

    async def read(request: Request) -> Model:
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_BYTES:
                raise Refused(413, "too-large", f"The body may have {MAX_BYTES:,} bytes.")
        try:
            return model.model_validate_json(bytes(data))
        except ValidationError as error:
            places = [{**each, "loc": ("body", *(each["loc"] or ("",)))} for each in error.errors(include_url=False, include_context=False)]
            raise RequestValidationError(places) from error

    return read


def told(model: type[BaseModel]) -> dict[str, Any]:
    """The same for OpenAPI. What the model names besides has to be in an answer, too."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

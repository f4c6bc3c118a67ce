"""Questions to a trained model as HTTP carries them."""

from __future__ import annotations

import base64
import json
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from service.api.problems import Refused
from service.jobs.ports import Question

MAX_BYTES = 8 * 2**20
"""Of posted samples."""

PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "inputs": {
                            "type": "array",
                            "description": "Samples: an image as [height, width] or [channels, height, width] of 0-255; numbers as the data had them; "
                            "a row of a table as an object with a value for each column.",
                        }
                    },
                },
                "example": {"inputs": [[[0, 128], [255, 0]]]},
            },
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "text/csv": {"schema": {"type": "string"}, "example": "age,town\n31,Ulm\n"},
        },
    }
}


class Prediction(BaseModel):
    """Answers, one for each sample: `outputs` as the model gives them; of classes the name (of several labels, the list of those that hold).

    `probabilities` stand in the order of `names`; null where the loss gives outputs no such meaning.
    """

    outputs: list[Any]
    names: list[str]
    classes: list[Any] | None
    probabilities: list[Any] | None


async def samples_of(request: Request) -> tuple[str, bytes]:
    """What is sent, and as what. Raises Refused."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            raise Refused(413, "too-large", f"Samples may have {MAX_BYTES:,} bytes at a time.")
    return kind, bytes(data)


def question_of(kind: str, data: bytes, *, resize: bool) -> Question:
    """The question that is asked. Raises Refused."""
    match kind:
        case "image/png" | "image/jpeg":
            return Question(kind="image", data=base64.b64encode(data).decode(), resize=resize)
        case "text/csv":
            try:
                return Question(kind="csv", data=data.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise Refused(422, "bad-request", "The CSV is no text in UTF-8.") from error
        case "application/json":
            body = _json(data)
            if not isinstance(body, dict) or "inputs" not in body:
                raise Refused(422, "bad-request", 'Send {"inputs": [...]}, a list of samples.')
            return Question(kind="inputs", data=body["inputs"], resize=resize)
    raise Refused(415, "unsupported", f"{kind[:100]} is not read: send application/json, image/png, image/jpeg or text/csv.")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(422, "bad-request", f"The body is no JSON: {error}.") from error

"""Reads a body: JSON, or YAML 1.2 (where 1e-3 is a number), with limits on size, depth and aliases."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from service.spec.verdict import Fault, SpecFaults

MAX_BYTES = 1_048_576
MAX_DEPTH = 64
MAX_ALIASES = 100


def parse_body(data: bytes, content_type: str = "application/json") -> dict[str, Any]:
    """The object that a body holds. Raises SpecFaults with the line where it cannot be read."""
    if len(data) > MAX_BYTES:
        raise SpecFaults([Fault(pointer="", code="too_large", detail=f"The body has {len(data)} bytes; {MAX_BYTES} are allowed.")])
    body = _yaml(data) if "yaml" in content_type else _json(data)
    if not isinstance(body, dict):
        raise SpecFaults(
            [
                Fault(
                    pointer="",
                    code="not_an_object",
                    detail="A job spec is an object with the keys dataset, model, loss, optimizer, epochs.",
                )
            ]
        )
    _check_tree(body, 0)
    return body


def _json(data: bytes) -> Any:
    try:
        return json.loads(data, parse_constant=_refused)
    except json.JSONDecodeError as error:
        raise _unreadable(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _unreadable(f"not JSON: {error}") from error


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not allowed")


def _yaml(data: bytes) -> Any:
    try:
        aliases = sum(isinstance(event, AliasEvent) for event in YAML(typ="safe", pure=True).parse(BytesIO(data)))
        if aliases > MAX_ALIASES:
            raise _unreadable(f"{aliases} YAML aliases; {MAX_ALIASES} are allowed")
        return YAML(typ="safe", pure=True).load(BytesIO(data))
    except MarkedYAMLError as error:
        line = f" at line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}" if error.problem_mark else ""
        raise _unreadable(f"not YAML: {error.problem}{line}") from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise _unreadable(f"not YAML: {error}") from error


def _unreadable(why: str) -> SpecFaults:
    return SpecFaults([Fault(pointer="", code="unreadable", detail=f"The body is {why}.")])


def _check_tree(node: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _unreadable(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                raise _unreadable(f"keyed by {key!r}, which is not text")
            _check_tree(value, depth + 1)
    elif isinstance(node, list):
        for value in node:
            _check_tree(value, depth + 1)

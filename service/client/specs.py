"""What can be submitted: a dict, a file, a spec's text, or a spec as the service reads it."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.client.errors import BadRequest, Rejected

if TYPE_CHECKING:
    from service.spec.job import JobSpec

    Spec = Mapping[str, Any] | JobSpec | PathLike[str] | str
else:
    Spec = Any


def spec_of(given: Spec) -> dict[str, Any]:
    """The spec as JSON has it.

    A str of several lines, or one that begins with `{`, is a spec's text; any other str, and a Path, is a file, YAML or JSON.
    Raises Rejected where it cannot be read, BadRequest where it is none of these, OSError.
    """
    if isinstance(given, str) and ("\n" in given or given.lstrip().startswith("{")):
        return _parsed(given.encode(), "application/yaml")
    if isinstance(given, str | PathLike):
        file = Path(given)
        return _parsed(file.read_bytes(), "application/json" if file.suffix == ".json" else "application/yaml")
    if isinstance(given, Mapping):
        return dict(given)
    if hasattr(given, "model_dump"):
        return dict(given.model_dump(mode="json", exclude_unset=True))
    raise BadRequest(
        f"A {type(given).__name__} is no spec: give a dict, a file's path, a spec's text, a JobSpec, or what from_torch gives."
    )


def _parsed(data: bytes, content_type: str) -> dict[str, Any]:
    from service.spec.text import parse_body
    from service.spec.verdict import SpecFaults

    try:
        return parse_body(data, content_type)
    except SpecFaults as faults:
        raise Rejected(str(faults), {"errors": [fault.model_dump() for fault in faults.faults]}) from faults

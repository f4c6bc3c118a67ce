"""The example specs: read from `service/spec/examples`, shown by OpenAPI, the API and the command."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from service.spec.text import parse_body

FOLDER = Path(__file__).parent.parent / "spec" / "examples"


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Every example by name."""
    return {path.stem: parse_body(path.read_bytes(), "application/yaml") for path in sorted(FOLDER.glob("*.yaml"))}

"""Rows as text: one JSON value on each line, as they are kept and passed on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from service.jobs.steps import Step


def json_lines(rows: Iterable[Mapping[str, Any] | Step]) -> bytes:
    """One JSON object, or list, a line."""
    encode = json.JSONEncoder().encode
    return "".join(encode(row) + "\n" for row in rows).encode()


def json_list(lines: bytes) -> bytes:
    """The same rows as one JSON list: JSON itself has no line end inside of a row."""
    return b"[" + lines.rstrip(b"\n").replace(b"\n", b",") + b"]"

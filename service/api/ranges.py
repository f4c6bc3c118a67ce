"""Byte ranges of RFC 9110: one range per request, which is all that downloads need."""

from __future__ import annotations

import re


class Unsatisfiable(ValueError):
    """The range lies outside the file."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(first, last) byte, inclusive; None where the header is absent, of several ranges (however many: the file is sent once), or no byte range (then the whole is sent)."""
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", (header or "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        if int(last) == 0 or size == 0:
            raise Unsatisfiable
        return max(0, size - int(last)), size - 1
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    if start >= size:
        raise Unsatisfiable
    return (start, end) if start <= end else None

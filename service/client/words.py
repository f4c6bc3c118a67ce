"""Sizes, times, numbers and curves as people read them in a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-~=+*#"


def size(count: float) -> str:
    """Bytes as people read them, in powers of 1000: 999 B, 1.2 MB."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if abs(count) < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("TB is the last")


def duration(seconds: float) -> str:
    """Seconds as people read them: 0.4 s, 12 s, 3 min 5 s, 2 h 4 min, 3 d 2 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, of, smaller, small in ((86_400, "d", "h", 3600), (3600, "h", "min", 60), (60, "min", "s", 1)):
        if whole >= unit:
            rest = whole % unit // small
            return f"{whole // unit} {of}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def moment(text: str) -> datetime:
    """An RFC 3339 time."""
    return datetime.fromisoformat(text)


def ago(text: str | None, *, now: datetime | None = None) -> str:
    """How long ago a time was, by its largest unit: just now, 3 min ago, 2 h ago; empty where there is none."""
    if not text:
        return ""
    seconds = ((now or datetime.now(UTC)) - moment(text)).total_seconds()
    for unit, of in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {of} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} s ago"


def until(text: str, *, now: datetime | None = None) -> str:
    """When something is expected: in 5 min, or soon, where its time has come."""
    seconds = (moment(text) - (now or datetime.now(UTC))).total_seconds()
    return f"in {duration(seconds)}" if seconds >= 1 else "soon"


def number(value: Any) -> str:
    """A number in five digits; anything else as it is."""
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)


def spark(values: Sequence[float], *, width: int, blocks: str = BLOCKS) -> str:
    """A curve in one line of text, its least value low and its most high; equal numbers of neighbours become their mean."""
    known = [value for value in values if value == value and abs(value) != float("inf")]  # noqa: PLR0124  # NaN is not itself
    if not known:
        return ""
    wide = min(width, len(known))
    bounds = [at * len(known) // wide for at in range(wide + 1)]
    means = [sum(known[a:b]) / (b - a) for a, b in pairwise(bounds)]
    least, span = min(means), max(means) - min(means)
    return "".join(blocks[round((value - least) / span * (len(blocks) - 1))] if span else blocks[0] for value in means)


def blocks_of(encoding: str | None) -> str:
    """What a curve is drawn with where text is encoded so."""
    return BLOCKS if (encoding or "").lower().startswith("utf") else PLAIN_BLOCKS

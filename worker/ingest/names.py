"""Names that people and terminals read: entries of archives, columns, classes."""

from __future__ import annotations

import re

_DECEIVING = re.compile("[\0-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters (of eight bits, too: U+009B begins a terminal's command as ESC [ does), line separators, what turns the direction
of writing (CVE-2021-42574, "Trojan Source"), what has no width, and halves of surrogate pairs."""


def is_readable(name: str) -> bool:
    """Whether a name shows as what it is: nothing in it steers a terminal, turns the text round, or cannot be seen."""
    return bool(name.strip()) and not _DECEIVING.search(name)

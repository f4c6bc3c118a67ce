"""A regular expression that finds some of a model's parameters and no others, as `optimizer.groups` takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

LONGEST = 200
"""Letters that a pattern of a spec may have."""


def pattern(wanted: Sequence[str], owners: Mapping[str, str]) -> str | None:
    """The pattern, or None where none is short enough. `owners` has the class of each parameter's module.

    A spec's pattern is searched, upper or lower case, in `name` and in `Class.own_name`. Tried are, in this order: names within a module
    (every bias), classes (every LayerNorm), modules (all of 0.layers), and single parameters.
    """
    left, parts = set(wanted), list[str]()
    for part in _parts(wanted, owners):
        found = {name for name in owners if finds(part, name, owners[name])}
        if found & left and found <= set(wanted):
            parts.append(part)
            left -= found
        if not left:
            break
    match = "|".join(parts)
    return match if parts and not left and len(match) <= LONGEST else None


def finds(match: str, name: str, owner: str) -> bool:
    """Whether a pattern takes a parameter, as the worker decides it."""
    names = (name, f"{owner}.{name.rpartition('.')[2]}")
    return any(re.search(match, each, re.IGNORECASE) for each in names)


def _parts(wanted: Sequence[str], owners: Mapping[str, str]) -> Iterator[str]:
    yield from dict.fromkeys(rf"\b{name.rpartition('.')[2]}$" for name in wanted)
    yield from dict.fromkeys(rf"^{owners[name]}\." for name in wanted)
    for depth in range(max(name.count(".") for name in wanted)):
        for module in dict.fromkeys(".".join(name.split(".")[: depth + 1]) for name in wanted if name.count(".") > depth):
            yield rf"^{re.escape(module)}\."
    yield from (f"^{re.escape(name)}$" for name in wanted)

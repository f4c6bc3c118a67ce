"""What a torch object is, seen from outside: by its class's name and home. Nothing here imports torch."""

from __future__ import annotations

from typing import NoReturn

from service.client.errors import CannotDeclare

OURS = "worker.training.textbook"
"""The home of the classes that a spec can say and torch does not have: Residual, Concat, Graph, Permute, ..."""


def name_of(thing: object) -> str:
    """The class's name."""
    return type(thing).__name__


def is_torchs(thing: object, home: str) -> bool:
    """Whether the class itself, not a base of it, is torch's, from a home such as `torch.nn`."""
    return f"{type(thing).__module__}.".startswith(f"{home}.")


def is_ours(thing: object) -> bool:
    """Whether the class is one of those that train.py spells out."""
    return type(thing).__module__ == OURS


def refuse(place: str, thing: object, what: str, cure: str) -> NoReturn:
    """Say what cannot be said, where, and what to do instead."""
    raise CannotDeclare(f"{place} ({name_of(thing)}) {what}. {cure}")

"""The kinds of argument that a spec can give, as the plain dictionaries of catalog.json. Shared by every overlay."""

from __future__ import annotations

from typing import Any

Kind = dict[str, Any]


def integer(help: str, minimum: int | None = None, **more: Any) -> Kind:
    """A whole number; `many=(2,)` takes a list of that length as well, `many="any"` one of any length."""
    return {"type": "int", **_without_none(minimum=minimum), **more, "help": help}


def number(help: str, minimum: float | None = None, maximum: float | None = None, **more: Any) -> Kind:
    """A finite number; `above` and `below` are limits that it must not reach."""
    return {"type": "float", **_without_none(minimum=minimum, maximum=maximum), **more, "help": help}


def share(help: str, **more: Any) -> Kind:
    """A number of 0 to 1, both allowed."""
    return number(help, 0, 1, **more)


def flag(help: str, **more: Any) -> Kind:
    """True or false."""
    return {"type": "bool", **more, "help": help}


def name(help: str, **more: Any) -> Kind:
    """A name that the rest of the spec has to know."""
    return {"type": "str", **more, "help": help}


def choice(help: str, *choices: str | int, **more: Any) -> Kind:
    """One of a few words."""
    return {"type": "choice", "choices": list(choices), **more, "help": help}


def numbers(help: str, **more: Any) -> Kind:
    """A list of finite numbers; `length` fixes how many."""
    return {"type": "floats", **more, "help": help}


def integers(help: str, **more: Any) -> Kind:
    """A list of whole numbers; `length` fixes how many."""
    return {"type": "ints", **more, "help": help}


def declared(help: str, group: str, **more: Any) -> Kind:
    """A list of other things of the catalog."""
    return {"type": "declared", "group": group, **more, "help": help}


def inferred(help: str, **more: Any) -> Kind:
    """A size that may be left out: it is found by running shapes through."""
    return integer(f"{help} Inferred.", 1, infer=True, **more)


def _without_none(**limits: float | None) -> Kind:
    return {name: limit for name, limit in limits.items() if limit is not None}

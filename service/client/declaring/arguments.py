"""An object's arguments as the catalog names them, those left out that are as a spec has them anyway."""

from __future__ import annotations

import inspect
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

from service.client.declaring.objects import name_of, refuse
from service.spec.catalog import load

Reading = Callable[[str], Any]
"""An argument's value by its name."""

_NEVER_MATTERS = frozenset({"self", "device", "dtype", "size_average", "reduce", "inplace"})
"""Arguments of constructors that say where numbers lie, or are past: a spec has none of them, or reads them itself."""


def declared(group: str, thing: object, place: str, read: Reading) -> dict[str, Any]:
    """`{type: ..., argument: ...}`, with every argument that differs from the spec's default. Raises CannotDeclare."""
    name = name_of(thing)
    said: dict[str, Any] = {"type": name}
    for argument, says in load()[group][name]["args"].items():
        value = plain(read(argument), says, thing, f"{place}.{argument}")
        if "default" not in says or value != says["default"]:
            said[argument] = value
    return said


def short(said: dict[str, Any]) -> dict[str, Any] | str:
    """The bare name, where there is nothing else to say."""
    return str(said["type"]) if len(said) == 1 else said


def plain(value: Any, says: Mapping[str, Any], thing: object, place: str) -> Any:
    """A value as JSON has it, of the kind that the catalog says. Raises CannotDeclare."""
    if isinstance(value, tuple | list) and ("many" in says or says["type"] in ("ints", "floats")):
        items = [_one(each, says, thing, place) for each in value]
        same = len(items) == 1 or (says.get("many") != "any" and len(set(items)) == 1)
        # (3, 3) is 3 where a kernel has two sides; where there is no end to them, [8, 8] is not 8
        return items[0] if "many" in says and items and same else items
    if says["type"] == "floats" and hasattr(value, "tolist"):
        return [shortest(each) for each in value.tolist()]
    return _one(value, says, thing, place)


def _one(value: Any, says: Mapping[str, Any], thing: object, place: str) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        refuse(place, thing, f"is {value}, and JSON has no such number", "Use a finite one.")
    if value is not None and not isinstance(value, bool | int | float | str):
        refuse(place, thing, f"is a {name_of(value)}", "A spec can only say numbers and words.")
    if isinstance(value, str) and says["type"] not in ("str", "choice") and value not in says.get("words", ()):
        refuse(place, thing, f"is {value!r}", "A spec has a number there.")
    if "choices" in says and value not in (*says["choices"], None) and value not in says.get("words", ()):
        refuse(place, thing, f"is {value!r}", f"A spec can say {', '.join(map(repr, says['choices']))}.")
    return value


def shortest(value: float) -> float:
    """The shortest decimal that is the same float32."""
    return as_written(value, lambda tried: struct.pack("f", tried) == struct.pack("f", value))


def as_written(value: float, is_right: Callable[[float], bool]) -> float:
    """The shortest decimal near a value that gives what it has to give; the value itself where none does."""
    return next((tried for digits in range(1, 18) if is_right(tried := float(f"{value:.{digits}g}"))), value)


def check_unsaid(group: str, thing: object, place: str) -> None:
    """Refuse an argument that torch's class has and the catalog has not, unless it is as torch has it by default. Raises CannotDeclare."""
    known = load()[group][name_of(thing)]["args"]
    for argument, parameter in inspect.signature(type(thing).__init__).parameters.items():
        if argument in known or argument in _NEVER_MATTERS or parameter.default is inspect.Parameter.empty:
            continue
        value = getattr(thing, argument, parameter.default)
        if value is not parameter.default and not (isinstance(value, bool | int | float | str | tuple) and value == parameter.default):
            refuse(place, thing, f"has {argument}={value!r:.40}, which no spec can say", f"Leave {argument} out.")

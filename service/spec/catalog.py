"""Turns catalog.json into closed pydantic unions on `type`. Nothing here knows torch; the names in the JSON are torch's own."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

_FILE = Path(__file__).with_name("catalog.json")


class Closed(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Declared(Closed):
    """One thing of the catalog with its arguments, by torch's own class and argument names."""

    type: str
    own_keys: ClassVar[frozenset[str]] = frozenset()
    """Fields that are ours, not the class's."""

    def arguments(self) -> dict[str, Any]:
        """Every argument of the class, defaults filled in."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "type" and name not in self.own_keys}

    def chosen(self) -> dict[str, Any]:
        """The arguments that differ from the class's defaults: what a person would write."""
        defaults = load_defaults().get(self.type, {})
        return {name: value for name, value in self.arguments().items() if name not in defaults or value != defaults[name]}


@cache
def load() -> dict[str, Any]:
    """The whole catalog: {layers, losses, optimizers, transforms, datasets}, each {name: {help, args}}."""
    return dict(json.loads(_FILE.read_text()))


@cache
def load_defaults() -> dict[str, dict[str, Any]]:
    """The class's own defaults by class and argument; an argument whose default is ours is not among them."""
    return {
        name: {
            argument: tuple(says["default"]) if isinstance(says["default"], list) else says["default"]
            for argument, says in entry["args"].items()
            if "default" in says and not says.get("ours") and not says.get("infer")
        }
        for group in ("layers", "losses", "optimizers", "transforms", "datasets")
        for name, entry in load()[group].items()
    }


def names(group: str) -> list[str]:
    """What can be declared in a group."""
    return list(load()[group])


def suggest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None."""
    known = list(known)
    aliases = {
        "learning_rate": "lr",
        "units": "out_features",
        "filters": "out_channels",
        "dropout": "p",
        "rate": "p",
        "batchsize": "batch_size",
    }
    if aliases.get(name.lower()) in known:
        return aliases[name.lower()]
    folded = {candidate.lower().replace("_", ""): candidate for candidate in known}
    exact = folded.get(name.lower().replace("_", ""))
    if exact:
        return exact
    close = difflib.get_close_matches(name.lower().replace("_", ""), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def union(group: str, *, base: type[Declared] = Declared) -> Any:
    """The closed union of a group, as an annotation; a bare string is shorthand for {type: string}."""
    members = tuple(_record(name, entry, base) for name, entry in load()[group].items())
    one_of: Any = Union.__getitem__(members)  # a union of classes made at run time
    return Annotated[one_of, Field(discriminator="type"), BeforeValidator(expanded)]


def expanded(value: Any) -> Any:
    """`ReLU` as `{type: ReLU}`; anything else as it is."""
    return {"type": value} if isinstance(value, str) else value


def _record(name: str, entry: Mapping[str, Any], base: type[Declared]) -> type[Declared]:
    fields: dict[str, Any] = {"type": (Literal[name], Field(description=entry["help"]))}
    for argument, says in entry["args"].items():
        default = says.get("default", ...)
        fields[argument] = (
            _annotation(says),
            Field(default=tuple(default) if isinstance(default, list) else default, description=says["help"]),
        )
    return create_model(name, __base__=base, __doc__=entry["help"], **fields)


def _annotation(says: Mapping[str, Any]) -> Any:
    limits: dict[str, Any] = {"ge": says.get("minimum"), "le": says.get("maximum"), "gt": says.get("above"), "lt": says.get("below")}
    match says["type"]:
        case "int":
            kind: Any = Annotated[int, Field(strict=True, **limits)]
        case "float":
            kind = Annotated[float, Field(strict=True, allow_inf_nan=False, **limits)]
        case "bool":
            kind = Annotated[bool, Field(strict=True)]
        case "choice":
            kind = Literal[tuple(says["choices"])]
        case "ints" | "floats":
            one: Any = _annotation({**says, "type": says["type"][:-1], "nullable": False})
            length = says.get("length")
            kind = Annotated[tuple.__class_getitem__((one, ...)), Field(min_length=length or 1, max_length=length)]
        case other:
            raise LookupError(f"the catalog has an argument of unknown type {other!r}")
    if "pair" in says:
        kind = kind | Annotated[tuple[kind, ...], Field(min_length=says["pair"], max_length=says["pair"])]
    if "words" in says:
        kind = kind | Literal[tuple(says["words"])]
    return kind | None if says.get("nullable") or says.get("infer") else kind

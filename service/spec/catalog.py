"""Turns catalog.json into closed pydantic unions on `type`. Nothing here knows torch; the names in the JSON are torch's own."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, ForwardRef, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic_core import core_schema

_FILE = Path(__file__).with_name("catalog.json")


class Closed(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Declared(Closed):
    """One thing of the catalog with its arguments, by torch's own class and argument names."""

    group: ClassVar[str] = ""
    own_keys: ClassVar[frozenset[str]] = frozenset()
    """Fields that are ours, not the class's."""

    type: str

    def arguments(self) -> dict[str, Any]:
        """Every argument of the class, defaults filled in."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "type" and name not in self.own_keys}

    def chosen(self) -> dict[str, Any]:
        """The arguments that differ from the class's own defaults: what a person would write."""
        defaults = own_defaults(self.group, self.type)
        return {name: value for name, value in self.arguments().items() if name not in defaults or value != defaults[name]}


@cache
def load() -> dict[str, Any]:
    """The whole catalog: {layers, losses, optimizers, ...}, each {name: {help, args}}, and {models: {name: {weights}}}."""
    return dict(json.loads(_FILE.read_text()))


@cache
def own_defaults(group: str, name: str) -> dict[str, Any]:
    """The class's own defaults by argument; an argument whose default is ours is not among them."""
    return {
        argument: tuple(says["default"]) if isinstance(says["default"], list) else says["default"]
        for argument, says in load()[group].get(name, {"args": {}})["args"].items()
        if "default" in says and not says.get("ours") and not says.get("infer")
    }


def names(group: str) -> list[str]:
    """What can be declared in a group."""
    return list(load()[group])


_ALIASES = {
    "learning_rate": "lr",
    "units": "out_features",
    "filters": "out_channels",
    "dropout": "p",
    "rate": "p",
    "batchsize": "batch_size",
    "dense": "Linear",
    "crossentropy": "CrossEntropyLoss",
    "scheduler": "lr_scheduler",
}


def suggest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None."""
    known = list(known)
    if _ALIASES.get(name.lower()) in known:
        return _ALIASES[name.lower()]
    folded = {candidate.lower().replace("_", ""): candidate for candidate in known}
    exact = folded.get(name.lower().replace("_", ""))
    if exact:
        return exact
    close = difflib.get_close_matches(name.lower().replace("_", ""), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


class Shorthand:
    """Lets a bare string stand for `{type: string}`, in validation and in the JSON Schema.

    `key` is the field that the string fills; `alone` are the names that need no argument besides.
    """

    def __init__(self, alone: Sequence[str] = (), *, key: str = "type") -> None:
        self._alone, self._key = tuple(alone), key

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # pydantic's name
        """Put the expansion before the rest."""
        return core_schema.no_info_before_validator_function(self._expanded, handler(source))

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Both forms."""
        whole = handler(schema)
        return {"anyOf": [{"type": "string", "enum": list(self._alone)}, whole]} if self._alone else whole

    def _expanded(self, value: Any) -> Any:
        return {self._key: value} if isinstance(value, str) else value


def union(group: str, *, base: type[Declared] | Mapping[str, type[Declared]] = Declared, more: Sequence[type[Closed]] = ()) -> Any:
    """The closed union of a group and of `more`, as an annotation; a bare string is shorthand for {type: string}.

    `base` is the record that all build on, or one for each name.
    """
    members = [_record(group, name, entry, base[name] if isinstance(base, Mapping) else base) for name, entry in load()[group].items()]
    every = (*members, *more)
    # a union of classes made at run time
    one_of: Any = Annotated[Union.__getitem__(every), Field(discriminator="type")]
    alone = [member.__name__ for member in every if not any(f.is_required() for n, f in member.model_fields.items() if n != "type")]
    annotation = Annotated[one_of, Shorthand(alone)]
    for member in members:
        member.model_rebuild(_types_namespace={_forward(group): annotation})
    return annotation


def _forward(group: str) -> str:
    return f"Any_{group}"


def _record(group: str, name: str, entry: Mapping[str, Any], base: type[Declared]) -> type[Declared]:
    fields: dict[str, Any] = {"type": (Literal[name], Field(description=entry["help"]))}
    for argument, says in entry["args"].items():
        fields[argument] = (annotation(says), field(says))
    record = create_model(name, __base__=base, __doc__=entry["help"], __module__=f"{__name__}.{group}", **fields)
    record.group = group
    return record


def field(says: Mapping[str, Any]) -> Any:
    """An argument's default and description."""
    default = says.get("default", ...)
    return Field(default=tuple(default) if isinstance(default, list) else default, description=says["help"])


def annotation(says: Mapping[str, Any]) -> Any:
    """An argument's type, with its range: what pydantic checks and the JSON Schema shows."""
    limits: dict[str, Any] = {"ge": says.get("minimum"), "le": says.get("maximum"), "gt": says.get("above"), "lt": says.get("below")}
    match says["type"]:
        case "int":
            kind: Any = Annotated[int, Field(strict=True, **limits)]
        case "float":
            kind = Annotated[float, Field(strict=True, allow_inf_nan=False, **limits)]
        case "str":
            kind = Annotated[str, Field(strict=True, max_length=100)]
        case "bool":
            kind = Annotated[bool, Field(strict=True)]
        case "choice":
            kind = Literal[tuple(says["choices"])]
        case "ints" | "floats":
            one: Any = annotation({**says, "type": says["type"][:-1], "nullable": False})
            length = says.get("length")
            kind = Annotated[tuple.__class_getitem__((one, ...)), Field(min_length=length or 1, max_length=length)]
        case "declared":
            kind = Annotated[tuple.__class_getitem__((ForwardRef(_forward(says["group"])), ...)), Field(min_length=1, max_length=100)]
        case other:
            raise LookupError(f"the catalog has an argument of unknown type {other!r}")
    if says.get("many"):
        kind = kind | _list_of(kind | None if says.get("nullable_items") else kind, says["many"])
    if "words" in says:
        kind = kind | Literal[tuple(says["words"])]
    return kind | None if says.get("nullable") or says.get("infer") else kind


def _list_of(one: Any, lengths: Sequence[int] | Literal["any"]) -> Any:
    """A list of one of the lengths. Several lengths are one list type: pydantic would name each of them in every error."""
    if lengths == "any":
        return Annotated[tuple.__class_getitem__((one, ...)), Field(min_length=1, max_length=10_000)]
    return Annotated[tuple.__class_getitem__((one, ...)), Field(min_length=min(lengths), max_length=max(lengths))]

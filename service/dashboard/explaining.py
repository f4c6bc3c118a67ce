"""What a key of a spec means, told of the same records that check it: type, range, default, help, and what could stand there instead."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from service.spec.catalog import Declared, suggest
from service.spec.edits import rendered
from service.spec.faults import records_in, tag_of
from service.spec.job import JobSpec
from service.spec.lints import ACTIVATIONS

Step = tuple[str | int, str | None]
"""A key or a place in a list, and the `type` of what stands there (as text; None where it has none)."""

ALL = 20
"""Up to so many alternatives are shown; of more only those that are close."""
CLOSE = 10
FAMILIES = ("Conv", "Pool", "Norm", "Dropout", "Pad", "Embedding", "Transformer", "Loss", "Resize", "Crop", "Flip", "Jitter")
SETS: Sequence[set[str]] = (
    ACTIVATIONS | {"Softmax", "LogSoftmax", "GLU"},
    {"RNN", "LSTM", "GRU"},
    {"Linear", "Bilinear", "Conv1d", "Conv2d", "Embedding"},
    {"Sequential", "Residual", "Concat", "Parallel", "Repeat", "Graph"},
    {"Flatten", "Unflatten", "Permute", "PixelShuffle", "PixelUnshuffle", "Fold", "Unfold"},
)
"""Names that stand for one another, whatever they look like."""
COMMON: Sequence[str] = (
    *("Flatten", "Linear", "ReLU", "Dropout", "Conv2d", "BatchNorm2d", "MaxPool2d", "GELU", "LSTM", "Residual"),
    *("ToImage", "ToDtype", "Normalize", "Resize", "RandomHorizontalFlip", "RandomCrop", "Accuracy", "F1Score", "ConfusionMatrix"),
)
"""What most begin with, where nothing is written yet."""
LIMITS: Mapping[type, str] = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}
HUGE = 2**53
"""A limit that nobody reaches is not worth saying."""
KINDS = {
    "layers": "layer",
    "losses": "loss",
    "optimizers": "optimizer",
    "schedulers": "learning rate schedule",
    "metrics": "metric",
    "transforms": "transform",
    "batch_transforms": "batch transform",
    "datasets": "data set",
}


@dataclass(frozen=True, kw_only=True)
class Name:
    """Something that could stand there."""

    name: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One key of an object: what kind of value it takes, and its default as YAML (None where it is required or has none worth saying)."""

    name: str
    kind: str
    required: bool
    default: str | None
    help: str
    choices: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something of a type: its help, its arguments, and what could stand in its place."""

    name: str
    kind: str
    help: str
    arguments: Sequence[Argument]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Of one place in a spec. `argument` is the key itself, `thing` what stands there, `others` what could; `keys` are close where the key is not known."""

    path: Sequence[str]
    argument: Argument | None
    thing: Thing | None
    others: Sequence[Name]
    shown: str
    """What the others are."""
    unknown: Literal["", "key", "type"] = ""


def explained(steps: Sequence[Step]) -> Explanation | None:
    """The explanation of a place, from the root on. None where nobody checks what stands there."""
    could: Sequence[type[BaseModel]] = (JobSpec,)
    here: Sequence[type[BaseModel]] = could
    field: tuple[str, FieldInfo] | None = None
    for at, (key, kind) in enumerate(steps):
        if isinstance(key, str):
            if key == "type" and at == len(steps) - 1 and at:
                return _of_type(steps[:-1], could, kind or steps[-2][1])
            found = next((model.model_fields[key] for model in here if key in model.model_fields), None)
            if found is None:
                return _unknown(steps, here) if at == len(steps) - 1 else None
            field, could = (key, found), records_in(found.annotation)
        here = [model for model in could if tag_of(model) == kind] or could if kind else could
    if field is None:
        return None
    is_item = isinstance(steps[-1][0], int)
    tagged = any(tag_of(model) for model in could)
    if tagged and (is_item or not _is_list(field[1].annotation)):
        of_type = _of_type(steps, could, steps[-1][1])
        return of_type if is_item else Explanation(**{**of_type.__dict__, "argument": _argument(*field)})
    thing = _thing(here[0]) if len(here) == 1 and not tagged else None
    others = [_name(model) for model in _close(steps[-1][1] or "", could)] if tagged else []
    return Explanation(path=_path(steps), argument=_argument(*field), thing=thing, others=others, shown="In it")


def _of_type(steps: Sequence[Step], could: Sequence[type[BaseModel]], kind: str | None) -> Explanation:
    chosen = next((model for model in could if tag_of(model) == kind), None)
    others = [_name(model) for model in _close(kind or "", could) if model is not chosen]
    return Explanation(
        path=_path(steps),
        argument=None,
        thing=_thing(chosen) if chosen is not None else None,
        others=others,
        shown="Others" if chosen is not None else "Could be",
        unknown="type" if chosen is None and kind else "",
    )


def _unknown(steps: Sequence[Step], here: Sequence[type[BaseModel]]) -> Explanation | None:
    known = {name: field for model in here for name, field in model.model_fields.items() if name != "content"}
    if not known or len(here) > 1:
        return None
    close = _ranked(str(steps[-1][0]), known)[: CLOSE if len(known) > ALL else ALL]
    others = [Name(name=name, help=_argument(name, known[name]).help) for name in close]
    return Explanation(path=_path(steps), argument=None, thing=None, others=others, shown="Known here", unknown="key")


def _path(steps: Sequence[Step]) -> list[str]:
    return [str(key) for key, _ in steps]


@cache
def _thing(model: type[BaseModel]) -> Thing:
    arguments = [_argument(name, field) for name, field in model.model_fields.items() if name not in ("type", "content")]
    group = getattr(model, "group", "") if issubclass(model, Declared) else ""
    return Thing(name=tag_of(model) or "", kind=KINDS.get(group, ""), help=_help(model), arguments=sorted(arguments, key=_rank))


def _rank(argument: Argument) -> int:
    """What is needed first, lists of objects last."""
    return 0 if argument.required else 2 if argument.kind == "list of (object)" else 1


def needed() -> Sequence[Argument]:
    """The keys that every spec has."""
    return [_argument(name, field) for name, field in JobSpec.model_fields.items() if field.is_required()]


def _name(model: type[BaseModel]) -> Name:
    return Name(name=tag_of(model) or "", help=_help(model))


def _help(model: type[BaseModel]) -> str:
    field = model.model_fields.get("type")
    told = field.description if field is not None and field.description else (model.__doc__ or "").split("\n\n")[0]
    return re.sub(r"\s+", " ", told.replace("`", "")).strip()


def _argument(name: str, field: FieldInfo) -> Argument:
    default = field.default
    told = None if field.is_required() or default is PydanticUndefined or isinstance(default, BaseModel) else _as_yaml(default)
    return Argument(
        name=name,
        kind="; or ".join(dict.fromkeys(_kinds(field.annotation, field.metadata))),
        required=field.is_required(),
        default=told,
        help=re.sub(r"\s+", " ", (field.description or "").replace("`", "")),
        choices=[rendered(each) for each in _choices(field.annotation)],
    )


def _as_yaml(value: Any) -> str | None:
    if isinstance(value, tuple | list):
        return rendered([each.model_dump(exclude_defaults=True) if isinstance(each, BaseModel) else each for each in value])
    return rendered(value) if isinstance(value, str | int | float | Mapping) or value is None else None


def _choices(annotation: Any) -> list[Any]:
    """What can be chosen: words, and true or false."""
    if get_origin(annotation) is Literal:
        return [each for each in get_args(annotation) if each is not None][:ALL]
    if annotation is bool:
        return [True, False]
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return [choice for each in get_args(annotation) for choice in _choices(each)]
    return []


def _kinds(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[str]:
    """The kinds of value that an annotation takes, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _kinds(arguments[0], (*_spread(arguments[1:]), *metadata))
    elif origin in (Union, types.UnionType):
        models = [each for each in arguments if isinstance(each, type) and issubclass(each, BaseModel)]
        if models:
            yield _kind_of(models)
        for each in arguments:
            if each not in models and each is not type(None):
                yield from _kinds(each, metadata)
    elif origin is Literal:
        yield "one of " + ", ".join(map(rendered, arguments)) if len(arguments) <= ALL else f"one of {len(arguments)} names"
    elif origin is tuple:
        inner = " or ".join(dict.fromkeys(_kinds(arguments[0])))
        yield f"list of {_length(metadata)}".strip() + f" ({inner})"
    elif origin is dict:
        yield "object"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield _kind_of([annotation])
    else:
        word = {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(annotation, "value")
        yield f"{word}{_range(metadata)}" if annotation in (int, float) else word


def _kind_of(models: Sequence[type[BaseModel]]) -> str:
    groups = [KINDS.get(getattr(model, "group", ""), "") for model in models]
    named = next(filter(None, groups), "")
    return named or ("object" if len(models) == 1 and not tag_of(models[0]) else " or ".join(filter(None, map(tag_of, models))) or "object")


def _spread(metadata: Iterable[Any]) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from each.metadata
        else:
            yield each


def _range(metadata: Iterable[Any]) -> str:
    limits: dict[type, Any] = {kind: getattr(each, name) for kind, name in LIMITS.items() for each in metadata if isinstance(each, kind)}
    if Ge in limits and Le in limits:
        return f", {limits[Ge]:,} to {limits[Le]:,}" if limits[Ge] != limits[Le] else f", {limits[Ge]:,}"
    words = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}
    told = [f"{word} {limits[kind]:,}" for kind, word in words.items() if kind in limits and limits[kind] < HUGE]
    return (", " + ", ".join(told)) if told else ""


def _length(metadata: Iterable[Any]) -> str:
    least = next((each.min_length for each in metadata if isinstance(each, MinLen)), None)
    most = next((each.max_length for each in metadata if isinstance(each, MaxLen)), None)
    return f"{least}" if least is not None and least == most else ""


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, Annotated):
        return any(_is_list(each) for each in get_args(annotation))
    return origin is tuple


def _close(name: str, models: Sequence[type[BaseModel]]) -> list[type[BaseModel]]:
    """All of a few; of many those of the same family, or with a name like it."""
    by_name = {tag_of(model) or "": model for model in models}
    if len(by_name) <= ALL:
        return list(by_name.values())
    return [by_name[each] for each in _ranked(name, by_name) if each != name][:CLOSE]


def _ranked(name: str, known: Iterable[str]) -> list[str]:
    """Known names, the closest first: those that begin so, those of the family, those that are written alike."""
    if not name:
        return sorted(known, key=lambda other: COMMON.index(other) if other in COMMON else len(COMMON))
    folded, meant = name.lower(), suggest(name, known := list(known))
    family = next((group for group in SETS if name in group), None)
    part = next((each for each in FAMILIES if each in name), None)

    def distance(other: str) -> tuple[bool, bool, bool, float]:
        begins = folded in other.lower()
        related = (family is not None and other in family) or (part is not None and part in other)
        return other != meant, not begins, not related, -difflib.SequenceMatcher(None, folded, other.lower()).ratio()

    return sorted(known, key=distance)

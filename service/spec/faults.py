"""Turns pydantic's errors into faults: pointers into the body as sent, plain sentences, close matches."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from service.spec.catalog import suggest
from service.spec.fixes import removing, renaming, setting
from service.spec.verdict import Fault

EXAMPLES: Mapping[str, Any] = {
    "dataset": "MNIST",
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.01},
    "epochs": 5,
    "out_features": 10,
    "out_channels": 16,
    "kernel_size": 3,
    "hidden_size": 64,
    "num_groups": 1,
    "num_heads": 4,
    "nhead": 4,
    "num_embeddings": 256,
    "embedding_dim": 32,
    "step_size": 5,
    "max_lr": 0.1,
}
"""What to write where a key is missing, as textbooks do."""
YES_OR_NO = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


def faults_of(error: ValidationError, body: Any) -> list[Fault]:
    """Every fault, each once, in the order of the body. Members of a plain union fold into one fault."""
    found: dict[tuple[str, str], list[Fault]] = {}
    for problem in error.errors(include_url=False):
        fault = _fault(problem, body)
        found.setdefault((fault.pointer, fault.detail if fault.code == "missing" else ""), []).append(fault)
    faults = _once([_folded(each) for each in found.values()])
    # pydantic counts only the good items: a list with a bad one is called too short besides
    return [
        each for each in faults if each.code != "too_short" or not any(other.pointer.startswith(f"{each.pointer}/") for other in faults)
    ]


def pointer(parts: Sequence[str | int]) -> str:
    """The JSON Pointer (RFC 6901) of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _once(faults: list[Fault]) -> list[Fault]:
    """One fix where a key is missing because it is misspelt: its new name."""
    misspelt = {
        f"{above}/{fault.fix.value}": name
        for fault in faults
        if fault.fix and fault.fix.op == "rename"
        for above, _, name in [fault.pointer.rpartition("/")]
    }
    return [
        fault.model_copy(update={"fix": None, "suggestion": f"Here it is called `{misspelt[fault.fix.pointer]}`."})
        if fault.code == "missing" and fault.fix and fault.fix.pointer in misspelt
        else fault
        for fault in faults
    ]


def _folded(faults: list[Fault]) -> Fault:
    if len(faults) == 1 or len({fault.detail for fault in faults}) == 1:
        return faults[0]
    fix = next((fault.fix for fault in faults if fault.fix is not None), None)
    return faults[0].model_copy(update={"detail": " Or: ".join(dict.fromkeys(fault.detail for fault in faults)), "fix": fix})


def _walk(location: Sequence[str | int], body: Any) -> tuple[list[str | int], Any]:
    """The part of pydantic's location that exists in the body, and the node there; union tags and member names are dropped."""
    path: list[str | int] = []
    node = body
    for part in location:
        if (isinstance(node, Mapping) and part in node) or (isinstance(node, list) and isinstance(part, int) and part < len(node)):
            path.append(part)
            node = node[part]  # type: ignore[index]  # _holds looked
    return path, node


def _fault(problem: Any, body: Any) -> Fault:
    kind, location, context = problem["type"], problem["loc"], problem.get("ctx", {})
    path, node = _walk(location, body)
    where = pointer(path)
    match kind:
        case "missing":
            name = str(location[-1])
            fix = setting(f"{where}{pointer([name])}", EXAMPLES[name]) if name in EXAMPLES else None
            return Fault(pointer=where, code="missing", detail=f"`{name}` is required here.", suggestion=_example(name), fix=fix)
        case "extra_forbidden":
            known = _known_keys(location)
            close = suggest(str(location[-1]), known)
            more = f"Did you mean `{close}`?" if close else f"Known here: {', '.join(sorted(known))}."
            # where the right one stands beside it, or nothing is like it, only leaving it out mends this
            fix = renaming(where, close) if close and close not in _walk(location[:-1], body)[1] else removing(where)
            return Fault(pointer=where, code="unknown_key", detail=f"`{location[-1]}` is not known here.", suggestion=more, fix=fix)
        case "union_tag_invalid":
            tag, known = context["tag"], [name.strip().strip("'") for name in context["expected_tags"].split(",")]
            close = suggest(tag, known)
            at = where if isinstance(node, str) else f"{where}/type"
            more = f"Did you mean `{close}`?" if close else f"Known: {', '.join(known)}."
            fix = setting(at, close) if close else None
            return Fault(pointer=at, code="unknown_type", detail=f"There is no `{tag}` here.", suggestion=more, fix=fix)
        case "union_tag_not_found":
            return Fault(
                pointer=where,
                code="missing",
                detail="`type` is required here.",
                suggestion="Give the class's name, for example type: ReLU.",
            )
        case "bad_url":  # what was given may hold a password: it is not repeated
            meant = context["meant"]
            more = context["cure"] if meant is None else f"{context['cure']} Did you mean {meant}?"
            fix = setting(where, meant) if meant is not None else None
            return Fault(pointer=where, code=kind, detail=context["detail"], suggestion=more, fix=fix)
    meant = _meant(kind, node, context)
    if meant is None or not path:
        return Fault(pointer=where, code=kind, detail=_sentence(problem))
    suggestion = f"Did you mean {json.dumps(meant)}?"
    return Fault(pointer=where, code=kind, detail=_sentence(problem), suggestion=suggestion, fix=setting(where, meant))


def _meant(kind: str, value: Any, context: Mapping[str, Any]) -> Any:
    """What a value of the wrong kind was probably meant to be; None where nobody can say."""
    match kind, value:
        case (("int_type" | "float_type"), str()):
            return _number(value, whole=kind == "int_type")
        case "int_type", float() if value.is_integer():
            return int(value)
        case "bool_type", str() if value.lower() in YES_OR_NO:
            return YES_OR_NO[value.lower()]
        case "string_type", bool():
            return str(value).lower()
        case "string_type", (int() | float()):
            return str(value)
        case "literal_error", str():
            return suggest(value, re.findall(r"'([^']*)'", context.get("expected", "")))
        case "tuple_type", (str() | int() | float()):
            return [value]
        case (("greater_than_equal" | "less_than_equal"), int()):
            nearest = context.get("ge", context.get("le"))
            return int(nearest) if nearest == int(nearest) else None
        case (("greater_than_equal" | "greater_than"), float()) if value < 0 <= context.get("ge", context.get("gt", -1)):
            return -value
    return None


def _number(text: str, *, whole: bool) -> int | float | None:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _sentence(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    value = problem.get("input")
    shown = repr(value) if isinstance(value, str | int | float | bool) or value is None else type(value).__name__
    if str(problem["msg"]).startswith("Input should be "):
        return f"This should be {message}; got {shown}."
    return f"{message} (got {shown})."


def _example(name: str) -> str | None:
    return f"For example {name}: {_written(EXAMPLES[name])}." if name in EXAMPLES else None


def _written(value: Any) -> str:
    """As a person would write it, in YAML on one line."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {_written(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_written, value)) + "]"
        case str():
            return value
    return json.dumps(value)


def _known_keys(location: Sequence[str | int]) -> list[str]:
    """The keys of the record at a location: pydantic's path through fields, list places and union tags, walked along the models."""
    from service.spec.job import JobSpec

    models: list[type[BaseModel]] = [JobSpec]
    for part in location[:-1]:
        tagged = [model for model in models if tag_of(model) == part]
        holders = [model for model in models if part in model.model_fields]
        if tagged:
            models = tagged
        elif holders:
            models = [inner for model in holders for inner in records_in(model.model_fields[str(part)].annotation)]
    return list(models[0].model_fields) if models else []


def records_in(annotation: Any) -> list[type[BaseModel]]:
    """Every record that an annotation names, those of a union one by one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in records_in(argument)]


def tag_of(model: type[BaseModel]) -> str | None:
    """The `type` that a record is of; None where it has none."""
    field = model.model_fields.get("type")
    return get_args(field.annotation)[0] if field is not None and get_origin(field.annotation) is Literal else None

"""A JSON Schema in words: `int, 1 to 64`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.reference.markdown import code

Schema = Mapping[str, Any]
_NAMES = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "null": "null", "object": "object"}
_SHORT_LIST = 10
"""Longer limits on a list are there to stop nonsense, and nobody meets them."""


@dataclass(frozen=True)
class Words:
    """Says what a schema takes. `link` words the record or union that a `$ref`, or a discriminator's names, stand for."""

    link: Callable[[tuple[str, ...]], str | None]

    def of(self, schema: Schema) -> str:
        """In a few words, with the range."""
        if "$ref" in schema:
            return self._named((str(schema["$ref"]).rpartition("/")[2],))
        if "discriminator" in schema:
            return self._named(tuple(schema["discriminator"]["mapping"]))
        if "anyOf" in schema or "oneOf" in schema:
            return self._either(schema.get("anyOf") or schema["oneOf"])
        if len(schema.get("allOf", ())) == 1:
            return self.of(schema["allOf"][0])
        if "const" in schema or "enum" in schema:
            values = schema["enum"] if "enum" in schema else [schema["const"]]
            return self.link(tuple(str(value) for value in values)) or _choices(values)
        if schema.get("type") == "array":
            return self._list(schema)
        if "additionalProperties" in schema and isinstance(schema["additionalProperties"], Mapping):
            return f"object of {self.of(schema['additionalProperties'])}"
        if schema.get("format") == "date-time":
            return "time"
        if "type" not in schema:
            return "anything"
        return _NAMES[schema["type"]] + _range(schema)

    def _named(self, names: tuple[str, ...]) -> str:
        return self.link(names) or " or ".join(code(name) for name in names)

    def _either(self, options: list[Schema]) -> str:
        """One of several; the names that stand alone are no more than a short form of the union beside them."""
        union = [option for option in options if "discriminator" in option or "$ref" in option]
        said = [option for option in options if not (union and "enum" in option and _is_short(option, union[0]))]
        words = [self.of(option) for option in said]
        return ", or ".join(dict.fromkeys(self._shorter(option, words[0]) for option in said))

    def _shorter(self, option: Schema, first: str) -> str:
        """A list of what the first option is: `int, at least 1, or a list of 2`."""
        if option.get("type") != "array" or self.of(option.get("items", {})).removesuffix(", or null") != first:
            return self.of(option)
        least, most = option.get("minItems"), option.get("maxItems")
        return "a list" if most is None or most > _SHORT_LIST else f"a list of {least}" if least == most else f"a list of {least} to {most}"

    def _list(self, schema: Schema) -> str:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if "prefixItems" in schema:
            return f"[{', '.join(self.of(item) for item in schema['prefixItems'])}]"
        items = self.of(schema.get("items", {}))
        if least == most:
            return f"list of {least} of {items}"
        return f"list of {items}" + (f"; at most {most:,}" if most else "")


def _is_short(option: Schema, union: Schema) -> bool:
    return "$ref" in union or set(option["enum"]) <= set(union["discriminator"]["mapping"])


def _choices(values: list[Any]) -> str:
    return ", ".join(code(value if isinstance(value, str) else json.dumps(value)) for value in values)


def _range(schema: Schema) -> str:
    if "maxLength" in schema:
        return f", at most {schema['maxLength']:,} characters"
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {_number(least)} to {_number(most)}" if least != most else f", {_number(least)}"
    limits = [
        (f"at least {_number(least)}", least),
        (f"above {_number(above)}", above),
        (f"at most {_number(most)}", most),
        (f"below {_number(below)}", below),
    ]
    said = " and ".join(text for text, limit in limits if limit is not None)
    return f", {said}" if said else ""


def _number(value: Any) -> str:
    if value is None:
        return ""
    return "2^63" if value == 2**63 else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def default(schema: Schema, *, is_required: bool) -> str:
    """A default as a spec would write it."""
    if is_required:
        return "**required**"
    if "default" not in schema:
        return code("{}") if schema.get("type") == "object" else ""
    return code(_inline(schema["default"]))


def _inline(value: Any) -> str:
    """As YAML's short form has it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{name}: {_inline(each)}" for name, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_inline(each) for each in value) + "]"
        case str():
            return value
        case _:
            return json.dumps(value)

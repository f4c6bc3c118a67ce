"""Reads a body: JSON, or what JSON can hold of YAML 1.2 (where 1e-3 is a number), with limits on size, depth and aliases."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from service.spec.faults import pointer
from service.spec.verdict import Fault, Fix, SpecFaults

MAX_BYTES = 1_048_576
MAX_YAML_BYTES = 262_144
"""YAML takes twenty times as long to read as JSON, or more."""
MAX_NODES = 20_000
"""Of YAML: a second's work."""
MAX_DEPTH = 64
MAX_ALIASES = 100
MAX_VALUES = MAX_BYTES  # every value takes a byte: only aliases of aliases come to more
MAX_FAULTS = 100
PLAIN_VALUES = 10_000
"""More on one level are looked at one by one: aliases of aliases grow fast."""

HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a character, unless the other half follows."""
YAML_TAG = "tag:yaml.org,2002:"
TEXT, NUMBERS, MERGE = ("str", "value"), ("int", "float", "bool", "null"), "merge"
ONLY_YAML = {
    "timestamp": ("a date", "Put it in quotes, to have it as text."),
    "binary": ("binary data", "Give it as text, without the tag."),
    "set": ("a set", "Write a list: [a, b]."),
    "omap": ("an ordered map", "Write an object without the tag: {a: 1, b: 2}."),
    "pairs": ("a list of pairs", "Write an object without the tag: {a: 1, b: 2}."),
}

STOPPED = {
    "mapping values are not allowed": "Indent the line as its neighbours; text that has a colon in it belongs in quotes.",
    "could not find expected ':'": "This line, or the one before it, has to be `key: value`, with a space after the colon.",
    "expected <block end>": "Indent the line as its neighbours.",
    "found unexpected end of stream": "Close the quotes.",
    "found character '\\t'": "Indent with spaces; YAML takes no tabs there.",
    "found undefined alias": "Name an anchor that stands above: &name.",
    "expected ',' or": "Close the bracket, or put a comma between the items.",
}
"""What to do where a reader of YAML says such a thing."""


def parse_body(data: bytes, content_type: str = "application/json") -> dict[str, Any]:
    """The object that a body holds. Raises SpecFaults: the place of all that JSON cannot hold, or the line where reading had to stop."""
    if len(data) > MAX_BYTES:
        raise SpecFaults([Fault(pointer="", code="too_large", detail=f"The body has {len(data)} bytes; {MAX_BYTES} are allowed.")])
    return plain(values(compose(data)) if "yaml" in content_type else _json(data))


def plain(body: Any) -> dict[str, Any]:
    """The body, where it is an object of what JSON can hold. Raises SpecFaults, each at its place."""
    if not _is_plain(body):
        faults: list[Fault] = []
        _look(body, (), faults, count())
        if faults:
            raise SpecFaults(faults[:MAX_FAULTS])
    if not isinstance(body, dict):
        detail = "A job spec is an object with the keys dataset, model, loss, optimizer, epochs."
        raise SpecFaults([Fault(pointer="", code="not_an_object", detail=detail)])
    return body


@dataclass(frozen=True, eq=False)
class _Odd:
    """Stands in for a value or a key that JSON cannot hold, until `_look` knows its place.

    `name` is a key's text, if it has any; `mend` what a fix does there, and with which value.
    """

    code: str
    detail: str
    suggestion: str
    name: str | None = None
    mend: tuple[Literal["set", "rename", "remove"], str | None] | None = None

    def fault(self, path: tuple[str | int, ...]) -> Fault:
        """The fault that it is, at its place."""
        where = pointer(path)
        fix = Fix(op=self.mend[0], pointer=where, value=self.mend[1]) if self.mend else None
        return Fault(pointer=where, code=self.code, detail=self.detail, suggestion=self.suggestion, fix=fix)


def _is_plain(body: Any) -> bool:
    """Whether `_look` would find nothing, seen without keeping track of places; what it cannot say in short it leaves to `_look`."""
    level = [body]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for node in level:
            if type(node) is dict:
                deeper += node  # a key may be odd, too
                deeper += node.values()
            elif type(node) is list:
                deeper += node
            elif type(node) is _Odd or (type(node) is float and not math.isfinite(node)):
                return False
        if not deeper:
            return True
        if len(deeper) > PLAIN_VALUES:
            break
        level = deeper
    return False


def _look(node: Any, path: tuple[str | int, ...], faults: list[Fault], seen: Iterator[int]) -> None:
    """Collect what JSON cannot hold, from the top down."""
    if len(path) > MAX_DEPTH:
        raise _unreadable(f"nested deeper than {MAX_DEPTH} levels")
    if next(seen) > MAX_VALUES:
        raise _unreadable("too large once its YAML aliases are followed")
    if isinstance(node, _Odd):
        faults.append(node.fault(path))
    elif isinstance(node, float) and not math.isfinite(node):
        faults.append(_not_finite(path))
    elif isinstance(node, dict):
        for key, value in node.items():
            if isinstance(key, _Odd):
                _look(key, path if key.name is None else (*path, key.name), faults, seen)
            else:
                _look(value, (*path, key), faults, seen)
    elif isinstance(node, list):
        for place, value in enumerate(node):
            _look(value, (*path, place), faults, seen)


def _not_finite(path: tuple[str | int, ...]) -> Fault:
    return Fault(
        pointer=pointer(path),
        code="finite_number",
        detail="NaN, infinity and numbers too large for a float are not allowed.",
        suggestion="Give a finite number, or leave the key out.",
    )


def _object(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """The pairs as a dict; a key that comes again is kept as odd."""
    pairs = list(pairs)
    made: dict[Any, Any] = dict(pairs)
    if len(made) == len(pairs):
        return made
    made = {}
    for key, value in pairs:
        if key in made:
            made[_Odd("repeated_key", f"`{key}` is given more than once here.", "Keep one of them.", key, ("remove", None))] = value
        else:
            made[key] = value
    return made


def _json(data: bytes) -> Any:
    try:
        if HALF.search(data):
            json.dumps(json.loads(data), ensure_ascii=False).encode()
        return json.loads(data, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise _unreadable(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _unreadable(f"not JSON: {error}") from error


def compose(data: bytes) -> Node | None:
    """The nodes of a YAML document, which know where they stand; None of an empty one. Raises SpecFaults that say where reading had to stop."""
    if len(data) > MAX_YAML_BYTES:
        detail = f"The YAML has {len(data)} bytes; {MAX_YAML_BYTES} are allowed."
        raise SpecFaults([Fault(pointer="", code="too_large", detail=detail, suggestion=f"JSON may have {MAX_BYTES} bytes.")])
    try:
        # only what has as many asterisks can have as many aliases: to count them takes as long as to read
        if data.count(b"*") > MAX_ALIASES:
            aliases = sum(isinstance(event, AliasEvent) for event in YAML(typ="safe", pure=True).parse(BytesIO(data)))
            if aliases > MAX_ALIASES:
                raise _unreadable(f"{aliases} YAML aliases; {MAX_ALIASES} are allowed")
        reader = YAML(typ="safe", pure=True)
        reader.Composer = _Bounded
        root: Node | None = reader.compose(BytesIO(data))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        cure = next((words for begins, words in STOPPED.items() if str(error.problem).startswith(begins)), None)
        raise _unreadable(f"not YAML: {error.problem}{line}", cure, at=(mark.line, mark.column) if mark else None) from error
    except SpecFaults:
        raise
    except (YAMLError, RecursionError, ValueError) as error:
        raise _unreadable(f"not YAML: {error}") from error
    return root


class _Bounded(Composer):
    """Stops at limits while it reads, and not once all is read."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self._nodes = self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node with all below it."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _unreadable(f"of more than {MAX_NODES:,} values, which is too much for YAML", "Send it as JSON.")
        if self._depth > MAX_DEPTH:
            raise _unreadable(f"nested deeper than {MAX_DEPTH} levels")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def values(root: Node | None) -> Any:
    """What the nodes say; odd where JSON has none. Raises SpecFaults."""
    try:
        return _Values(YAML(typ="safe", pure=True).constructor).of(root)
    except (YAMLError, RecursionError, ValueError) as error:
        raise _unreadable(f"not YAML: {error}") from error


class _Values:
    """Makes plain values of YAML nodes, each node once: what is aliased is shared, and a node inside itself ends at the limit on depth."""

    def __init__(self, scalars: Any) -> None:
        self._scalars = scalars
        self._made: dict[int, Any] = {}

    def of(self, node: Node | None) -> Any:
        """The value of a node; odd where JSON has none."""
        if node is None or id(node) in self._made:
            return self._made.get(id(node))
        kind = str(node.tag).removeprefix(YAML_TAG)
        match node:
            case MappingNode() if kind == "map":
                made: dict[Any, Any] = {}
                self._made[id(node)] = made
                made.update(self._merged(node) | _object((self._key(key), self.of(value)) for key, value in _own(node)))
            case SequenceNode() if kind == "seq":
                items: list[Any] = []
                self._made[id(node)] = items
                items.extend(self.of(item) for item in node.value)
            case _:
                self._made[id(node)] = self._scalar(node, kind)
        return self._made[id(node)]

    def _scalar(self, node: Node, kind: str) -> Any:
        if isinstance(node, ScalarNode) and kind in (*TEXT, MERGE):
            return (
                node.value if _is_text(node.value) else _Odd("unreadable", "This holds half of a character.", "Write the whole character.")
            )
        if isinstance(node, ScalarNode) and kind in NUMBERS:
            try:
                return self._scalars.construct_object(node)
            except (ValueError, LookupError):
                return _Odd("unreadable", f"{node.value!r:.60} cannot be read as {kind}.", "Put it in quotes, to have it as text.")
        if kind in ONLY_YAML:
            what, instead = ONLY_YAML[kind]
            text = node.value if kind == "timestamp" and isinstance(node, ScalarNode) else None
            return _Odd("only_yaml", f"This is {what}, which JSON does not have.", instead, mend=("set", text) if text else None)
        tag = str(node.tag).replace(YAML_TAG, "!!")
        return _Odd("unknown_tag", f"The tag {tag} is not YAML's own, or not for this kind of value.", "Leave the tag out.")

    def _key(self, node: Node) -> Any:
        if not isinstance(node, ScalarNode):
            return _Odd("key_not_text", "Something here is keyed by a list or an object.", "Every key is text.")
        if str(node.tag).removeprefix(YAML_TAG) in TEXT and _is_text(node.value):
            return node.value
        written = str(node.value).encode(errors="replace").decode() or "null"
        return _Odd(
            "key_not_text", f"Something here is keyed by {written}, which is not text.", f'Write "{written}".', written, ("rename", written)
        )

    def _merged(self, node: MappingNode) -> dict[Any, Any]:
        """What `<<` brings: of several the first wins, and the node's own keys win over all."""
        brought: dict[Any, Any] = {}
        for key, value in node.value:
            if is_merge(key):
                for source in value.value if isinstance(value, SequenceNode) else [value]:
                    found = self.of(source)
                    odd = {_Odd("bad_merge", "`<<` takes an object or a list of objects.", "Name an anchor: <<: *base.", "<<"): None}
                    brought = (found if isinstance(found, dict) else odd) | brought
        return brought


def _is_text(value: str) -> bool:
    """Whether it can be sent and stored: halves of surrogate pairs cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _own(node: MappingNode) -> Iterator[tuple[Node, Node]]:
    return ((key, value) for key, value in node.value if not is_merge(key))


def is_merge(key: Node) -> bool:
    """Whether a key is `<<`."""
    return str(key.tag) == YAML_TAG + MERGE


def _unreadable(why: str, cure: str | None = None, *, at: tuple[int, int] | None = None) -> SpecFaults:
    return SpecFaults([Fault(pointer="", code="unreadable", detail=f"The body is {why}.", suggestion=cure)], at=at)

"""Spec files: reading them, changing values with --set, and where in the text a fault lies."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from service.client.cli.printing import err
from service.spec.faults import pointer
from service.spec.text import parse_body

STDIN = Path("-")


def read_spec(file: Path) -> dict[str, Any]:
    """The object in a YAML or JSON file, or on stdin for `-`. Raises SpecFaults; a file that cannot be read is a usage error."""
    return parse_body(read_text(file), "application/json" if file.suffix == ".json" else "application/yaml")


def read_text(file: Path) -> bytes:
    """The bytes of a file, or of stdin for `-`. One that cannot be read is a usage error."""
    if file == STDIN:
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        err.print(f"trainyard: cannot read {file}: {error.strerror}")
        raise typer.Exit(2) from error


def places(file: Path) -> dict[str, str]:
    """`FILE:LINE` of every value, by its JSON Pointer, and of a key's owner where a key is missing. Empty for stdin."""
    if file == STDIN:
        return {}
    try:
        root = YAML(typ="rt", pure=True).compose(file.read_text())
    except (OSError, UnicodeDecodeError, YAMLError):
        return {}
    return {pointer(path): f"{file}:{line}" for path, line in _lines(root, ())} if root is not None else {}


def _lines(node: Node, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """The line, from 1, of each value and of each key of an object."""
    if not path:
        yield path, node.start_mark.line + 1
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                yield (*path, key.value), key.start_mark.line + 1
                yield from _lines(value, (*path, key.value))
    elif isinstance(node, SequenceNode):
        for at, value in enumerate(node.value):
            yield (*path, at), value.start_mark.line + 1
            yield from _lines(value, (*path, at))


def changed(spec: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The spec with `optimizer.lr=0.01` and the like done to it. Raises typer.BadParameter for what cannot be."""
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise typer.BadParameter(f"{change!r} has no '='; write for example optimizer.lr=0.01", param_hint="--set")
        *parents, last = path.split(".")
        node: Any = spec
        for key in parents:
            node = _inner(node, key, change)
        node[_index(node, last, change)] = parse_body(f"value: {value}".encode(), "application/yaml")["value"]
    return spec


def _inner(node: Any, key: str, change: str) -> Any:
    """The part of a spec under a key; a bare string becomes the object that it is short for, an absent or null part an empty one."""
    at = _index(node, key, change)
    inner = node[at] if isinstance(node, list) else node.get(at)
    if inner is None or isinstance(inner, str):
        inner = {} if inner is None else {"type": inner}
        node[at] = inner
    return inner


def _index(node: Any, key: str, change: str) -> Any:
    if isinstance(node, dict):
        return key
    if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
        return int(key)
    raise typer.BadParameter(f"{change!r}: there is no {key!r} to change in {type(node).__name__} {node!r:.60}", param_hint="--set")

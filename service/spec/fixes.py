"""Makes the change that a fix says in a body: in the values alone. What it does to a text is `service.spec.edits`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.spec.verdict import Fix


def setting(pointer: str, value: Any) -> Fix:
    """Another value there."""
    return Fix(op="set", pointer=pointer, value=value)


def inserting(pointer: str, value: Any) -> Fix:
    """An item more, before that place of a list, or (`-`) at its end."""
    return Fix(op="insert", pointer=pointer, value=value)


def renaming(pointer: str, name: str) -> Fix:
    """Another name of that key."""
    return Fix(op="rename", pointer=pointer, value=name)


def removing(pointer: str) -> Fix:
    """Without that key or item."""
    return Fix(op="remove", pointer=pointer)


def fixed(body: Mapping[str, Any], fix: Fix) -> dict[str, Any]:
    """The body with the fix made; the body itself stays as it is. Raises LookupError where it does not fit."""
    parts = parted(fix.pointer)
    if not parts:
        raise LookupError("a fix is made inside the body")
    return dict(_inside(body, parts, fix))


def parted(pointer: str) -> list[str]:
    """The parts of a JSON Pointer (RFC 6901)."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _inside(node: Any, parts: Sequence[str], fix: Fix) -> Any:
    if isinstance(node, str) and fix.op == "set" and parts == ["type"]:
        return fix.value
    if isinstance(node, list | tuple):
        return _in_list(list(node), parts, fix)
    if fix.op in ("set", "insert"):
        node = {"type": node} if isinstance(node, str) else {} if node is None else node
    if isinstance(node, Mapping):
        return _in_object(node, parts, fix)
    raise LookupError(f"{fix.pointer} is not in this body")


def _in_list(items: list[Any], parts: Sequence[str], fix: Fix) -> list[Any]:
    at = len(items) if parts[0] == "-" else int(parts[0])
    if parts[1:]:
        items[at] = _inside(items[at], parts[1:], fix)
    elif fix.op == "insert":
        items.insert(at, fix.value)
    elif fix.op == "set":
        items[at] = fix.value
    else:
        del items[at]
    return items


def _in_object(node: Mapping[str, Any], parts: Sequence[str], fix: Fix) -> dict[str, Any]:
    first, rest = parts[0], parts[1:]
    if rest == ["-"] and node.get(first) is None:
        return {**node, first: [fix.value]}
    if rest:
        return {**node, first: _inside(node.get(first) if fix.op in ("set", "insert") else node[first], rest, fix)}
    if fix.op == "set":
        return {**node, first: fix.value}
    if fix.op == "rename":
        return {str(fix.value) if name == first else name: value for name, value in node.items()}
    return {name: value for name, value in node.items() if name != first}

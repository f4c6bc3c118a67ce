"""A fix as an edit of the text: comments, order and layout of everything else stay as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from service.spec.fixes import parted
from service.spec.places import Places, Step, Way, inner, is_flow
from service.spec.verdict import Fix

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Words that some reader of YAML takes for something else."""
INDENT = 2


@dataclass(frozen=True)
class Edit:
    """Characters to replace: from `start` up to `end`, counted from 0."""

    start: int
    end: int
    text: str

    def of(self, text: str) -> str:
        """The text with the edit made."""
        return text[: self.start] + self.text + text[self.end :]


def edit_of(fix: Fix, places: Places) -> Edit | None:
    """What to do to the text. None where that would change more than the fix says, or the text is written in an uncommon way."""
    editor = _Editor(places)
    match fix.op:
        case "set":
            return editor.set(fix.pointer, fix.value)
        case "insert":
            return editor.insert(fix.pointer, fix.value)
        case "rename":
            return editor.rename(fix.pointer, str(fix.value))
        case "remove":
            return editor.remove(fix.pointer)


def rendered(value: Any, *, as_json: bool = False) -> str:
    """A value on one line, as YAML in flow style or as JSON."""
    if as_json:
        return json.dumps(value, ensure_ascii=False)
    match value:
        case str():
            plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT
            return value if plain else json.dumps(value, ensure_ascii=False)
        case Mapping():
            return "{" + ", ".join(f"{rendered(key)}: {rendered(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(rendered(each) for each in value) + "]"
    return json.dumps(value)


class _Editor:
    def __init__(self, places: Places) -> None:
        self._places, self._text = places, places.text
        root = places.root
        self._json = bool(isinstance(root, MappingNode) and is_flow(root) and root.value and root.value[0][0].style == '"')

    def set(self, pointer: str, value: Any) -> Edit | None:
        way = self._places.way(pointer)
        if way.rest:
            return self._made(way, value)
        if not self._places.is_shared(way):
            return self._replaced(way.last, value)
        # what `<<` brings is left to the others; this one says it itself
        above = Way(way.steps[:-1], ())
        if way.last.inside is above.last.value or self._places.is_shared(above):
            return None
        return self._key_added(above.last, parted(pointer)[-1], value)

    def _made(self, way: Way, value: Any) -> Edit | None:
        """A value where there is none: what is missing on the way is made as well."""
        if self._places.is_shared(way) or any(part == "-" or part.isdigit() for part in way.rest):
            return None
        first, *more = way.rest
        for part in reversed(more):
            value = {part: value}
        node = way.last.value
        if isinstance(node, MappingNode):
            return self._key_added(way.last, first, value)
        if not isinstance(node, ScalarNode) or way.last.inside is None:
            return None
        if not node.value or str(node.tag).endswith(":null"):
            return self._replaced(way.last, {first: value})
        if first == "type":
            return self._replaced(way.last, value)
        return self._replaced(way.last, {"type": node.value, first: value})

    def insert(self, pointer: str, value: Any) -> Edit | None:
        above, _, place = pointer.rpartition("/")
        way = self._places.way(above)
        node = way.last.value
        if way.rest or (isinstance(node, ScalarNode) and not node.value):
            return self.set(above, [value])
        if not isinstance(node, SequenceNode) or self._places.is_shared(way):
            return None
        items = list(inner(node))
        at = len(items) if place == "-" else int(place)
        if not items:
            return self._replaced(way.last, [value])
        if is_flow(node):
            if at < len(items):
                start = items[at].value.start_mark.index
                return Edit(start, start, f"{self._rendered(value)}, ")
            return self._after(items[-1], f", {self._rendered(value)}")
        if at < len(items):
            dash = self._dash(items[at])
            column = dash - self._places.line_start(dash) if dash is not None else 0
            return Edit(dash, dash, f"- {self._rendered(value)}\n{' ' * column}") if dash is not None else None
        dash = self._dash(items[0])
        if dash is None:
            return None
        line = self._places.line_end(self._places.end(items[-1]))
        return Edit(line, line, f"\n{' ' * (dash - self._places.line_start(dash))}- {self._rendered(value)}")

    def rename(self, pointer: str, name: str) -> Edit | None:
        way = self._places.way(pointer)
        key = way.last.key
        if way.rest or key is None or self._places.is_shared(Way(way.steps[:-1], ())) or way.last.inside is not way.steps[-2].value:
            return None
        return Edit(key.start_mark.index, key.end_mark.index, rendered(name, as_json=key.style == '"'))

    def remove(self, pointer: str) -> Edit | None:
        way = self._places.way(pointer, again=True)
        inside = way.last.inside
        if way.rest or inside is None or inside is not way.steps[-2].value or self._places.is_shared(Way(way.steps[:-1], ())):
            return None
        entries, at = list(inner(inside)), way.last.at
        if len(entries) == 1:
            return self._replaced(way.steps[-2], {} if isinstance(inside, MappingNode) else [])
        start = self._start(entries[at])
        if start is None:
            return None
        end = self._places.end(entries[at])
        if is_flow(inside):
            following = self._start(entries[at + 1]) if at + 1 < len(entries) else None
            return Edit(start, following, "") if following is not None else Edit(self._places.end(entries[at - 1]), end, "")
        if self._places.begins_line(start):
            line, below = self._places.line_start(start), self._places.line_end(end)
            if below < len(self._text):
                return Edit(line, below + 1, "")
            return Edit(max(0, line - 1), below, "")
        following = self._start(entries[at + 1]) if at + 1 < len(entries) else None
        return Edit(start, following, "") if following is not None else None

    def _start(self, step: Step) -> int | None:
        """Where an entry begins: its key, its item, or its dash."""
        if step.key is not None:
            return int(step.key.start_mark.index)
        if step.inside is not None and is_flow(step.inside):
            return None if self._places.is_alias(step) else int(step.value.start_mark.index)
        return self._dash(step)

    def _dash(self, step: Step) -> int | None:
        if self._places.is_alias(step) or self._places.is_empty(step.value):
            return None
        start = step.value.start_mark.index
        dash = self._text.rfind("-", 0, start)
        return dash if dash >= 0 and not self._text[dash + 1 : start].strip() else None

    def _replaced(self, step: Step, value: Any) -> Edit | None:
        """Another value in place of one that is written here."""
        node, text, places = step.value, self._rendered(value), self._places
        if places.is_alias(step):
            return None
        if places.is_empty(node):
            if step.key is None:
                return None
            start = places.after_colon(step.key)
            return Edit(start, start, f" {text}")
        if isinstance(node, ScalarNode) or is_flow(node):
            return Edit(places.content(node), places.end(step), text)
        start = places.first(node)
        # a block below its key may stand at the key's own column, which what is in brackets may not
        least = step.key.start_mark.column + INDENT if step.key is not None and places.begins_line(start) else 0
        return Edit(start, places.end(step), " " * max(0, least - (start - places.line_start(start))) + text)

    def _key_added(self, step: Step, key: str, value: Any) -> Edit | None:
        entries, text = list(inner(step.value)), f"{rendered(key, as_json=self._json)}: {self._rendered(value)}"
        if not entries:
            return self._replaced(step, {key: value})
        first, last = entries[0].key, entries[-1]
        if first is None or self._places.is_alias(step):
            return None
        if not is_flow(step.value):
            line = self._places.line_end(self._places.end(last))
            return Edit(line, line, f"\n{' ' * first.start_mark.column}{text}")
        if self._text[self._places.content(step.value)] != "{":  # one pair as an item of a list may stand without braces
            start, end = self._places.content(step.value), self._places.end(step)
            return Edit(start, end, f"{{{self._text[start:end]}, {text}}}")
        start = last.key.start_mark.index if last.key is not None else 0
        if self._places.begins_line(start):
            return self._after(last, f",\n{' ' * (start - self._places.line_start(start))}{text}")
        return self._after(last, f", {text}")

    def _after(self, step: Step, text: str) -> Edit:
        end = self._places.end(step)
        return Edit(end, end, text)

    def _rendered(self, value: Any) -> str:
        return rendered(value, as_json=self._json)

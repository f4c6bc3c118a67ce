"""Where things stand in the text of a spec: from a JSON Pointer to the characters that say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from service.spec.fixes import parted
from service.spec.text import is_merge

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")
_ALIAS = re.compile(r"\*[^\s,\]}]+")
_COLON = re.compile(r"\s*:")


@dataclass(frozen=True)
class Span:
    """Characters of a text: from `start` up to `end`, counted from 0."""

    start: int
    end: int


@dataclass(frozen=True)
class Step:
    """One node on the way of a pointer: a value under its key, or an item, the `at`-th inside of something. The root is inside of nothing."""

    value: Node
    key: ScalarNode | None = None
    inside: Node | None = None
    at: int = 0


@dataclass(frozen=True)
class Way:
    """How far a pointer leads: the nodes from the root on, and the parts for which there is none."""

    steps: tuple[Step, ...]
    rest: tuple[str, ...]

    @property
    def last(self) -> Step:
        """What was found."""
        return self.steps[-1]


class Places:
    """A text with its nodes (`service.spec.text.compose`)."""

    def __init__(self, text: str, root: Node) -> None:
        self.text, self.root = text, root
        self._shared, self._aliases = _sharing(root)

    def way(self, pointer: str, *, again: bool = False) -> Way:
        """The way of a pointer. What `<<` brings is found where it is written; `again` takes the last of equal keys."""
        steps, parts = [Step(self.root)], parted(pointer)
        for at, part in enumerate(parts):
            step = _into(steps[-1].value, part, again=again)
            if step is None:
                return Way(tuple(steps), tuple(parts[at:]))
            steps.append(step)
        return Way(tuple(steps), ())

    def is_shared(self, way: Way) -> bool:
        """Whether an alias or `<<` brings this to several places: to change it here would change it there."""
        return any(id(step.value) in self._shared or id(step.inside) in self._shared for step in way.steps)

    def span(self, pointer: str, *, key: bool = False, again: bool = False) -> Span:
        """The characters to mark for a pointer: its value where that is one scalar, else (and for `key`) its key, or the `type` of an item."""
        step = self.way(pointer, again=again).last
        if step.key is not None and (key or not isinstance(step.value, ScalarNode) or self.is_empty(step.value)):
            return self._first_line(step.key.start_mark.index, step.key.end_mark.index)
        if isinstance(step.value, ScalarNode):
            start = self.content(step.value)
            return self._first_line(start, self.end(step))
        named = _into(step.value, "type", again=False)
        if named is not None and isinstance(named.value, ScalarNode):
            return self._first_line(self.content(named.value), named.value.end_mark.index)
        if step.inside is None:
            return Span(0, 0)
        start = self.first(step.value)
        return self._first_line(start, self.end(step))

    def _first_line(self, start: int, end: int) -> Span:
        return Span(start, max(start, min(end, self.line_end(start))))

    def content(self, node: Node) -> int:
        """Where a node begins, after its anchor and its tag."""
        found = _PROPERTIES.match(self.text, node.start_mark.index)
        return found.end() if found and not self.is_empty(node) else node.start_mark.index

    def first(self, node: Node) -> int:
        """Where the first key or the first item's dash stands, of a block without anchor and tag."""
        if isinstance(node, ScalarNode) or is_flow(node) or not node.value:
            return self.content(node)
        if isinstance(node, MappingNode):
            return int(node.value[0][0].start_mark.index)
        return self.text.rfind("-", 0, node.value[0].start_mark.index)

    def is_alias(self, step: Step) -> bool:
        """Whether it is named here, and written elsewhere."""
        return (id(step.inside), step.at) in self._aliases

    def is_empty(self, node: Node) -> bool:
        """Whether nothing is written for it."""
        return isinstance(node, ScalarNode) and node.start_mark.index == node.end_mark.index

    def end(self, step: Step) -> int:
        """Where a value really ends: comments and empty lines after it are not its own."""
        node = step.value
        if self.is_alias(step):
            return self._alias_end(step)
        if self.is_empty(node):
            return self.after_colon(step.key) if step.key is not None else len(self.text[: node.start_mark.index].rstrip())
        if isinstance(node, ScalarNode):
            return len(self.text[: node.end_mark.index].rstrip()) if node.style in ("|", ">") else int(node.end_mark.index)
        if is_flow(node) or not node.value:
            return int(node.end_mark.index)
        return self.end(list(inner(node))[-1])

    def _alias_end(self, step: Step) -> int:
        if step.key is not None:
            start = self.after_colon(step.key)
        else:
            before = list(inner(step.inside))[: step.at] if step.inside is not None else []
            start = self.end(before[-1]) if before else (step.inside or self.root).start_mark.index
        found = _ALIAS.search(self.text, start)
        return found.end() if found else start

    def after_colon(self, key: ScalarNode) -> int:
        """Behind the colon of a key."""
        found = _COLON.match(self.text, key.end_mark.index)
        return found.end() if found else int(key.end_mark.index)

    def line_start(self, at: int) -> int:
        """Where the line of a character begins."""
        return self.text.rfind("\n", 0, at) + 1

    def line_end(self, at: int) -> int:
        """Where the line of a character ends, before the line break."""
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end

    def begins_line(self, at: int) -> bool:
        """Whether nothing but space stands before it on its line."""
        return not self.text[self.line_start(at) : at].strip()


def is_flow(node: Node) -> bool:
    """Whether an object or a list is written in brackets."""
    return isinstance(node, CollectionNode) and bool(node.flow_style)


def inner(node: Node) -> Iterator[Step]:
    """The entries of an object, or the items of a list, as they are written."""
    if isinstance(node, MappingNode):
        yield from (Step(value, key, node, at) for at, (key, value) in enumerate(node.value))
    elif isinstance(node, SequenceNode):
        yield from (Step(item, None, node, at) for at, item in enumerate(node.value))


def _into(node: Node, part: str, *, again: bool, above: frozenset[int] = frozenset()) -> Step | None:
    """The entry of that name; `above` are the nodes whose `<<` led here, lest one leads to itself."""
    if id(node) in above:
        return None
    if isinstance(node, SequenceNode):
        return next((step for step in inner(node) if str(step.at) == part), None)
    found = [step for step in inner(node) if step.key is not None and _named(step.key) == part and not is_merge(step.key)]
    if found:
        return found[-1 if again else 0]
    for step in inner(node):
        if step.key is not None and is_merge(step.key):
            for source in step.value.value if isinstance(step.value, SequenceNode) else [step.value]:
                brought = _into(source, part, again=again, above=above | {id(node)})
                if brought is not None:
                    return brought
    return next((step for step in inner(node) if step.key is not None and _named(step.key) == part), None)


def _named(key: Node) -> str | None:
    return (key.value or "null") if isinstance(key, ScalarNode) else None


def _sharing(root: Node) -> tuple[set[int], set[tuple[int, int]]]:
    """The nodes that stand in several places, and the places that name one by an alias: all but the first."""
    waiting, seen = [Step(root)], set[int]()
    shared, aliases = set[int](), set[tuple[int, int]]()
    while waiting:
        step = waiting.pop()
        if id(step.value) in seen:
            shared.add(id(step.value))
            aliases.add((id(step.inside), step.at))
            continue
        seen.add(id(step.value))
        waiting += reversed(list(inner(step.value)))
    return shared, aliases

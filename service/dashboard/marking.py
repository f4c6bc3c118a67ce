"""What a check found, as marks in the text that was checked: lines, characters, and edits to click."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ruamel.yaml.nodes import MappingNode, ScalarNode

from service.spec.edits import Edit, edit_of, rendered
from service.spec.places import Places, Span
from service.spec.text import compose
from service.spec.verdict import Fault, Fix, SpecFaults, SpecWarning

_TABS = re.compile(r"^[ \t]*\t[ \t]*", re.MULTILINE)
_NO_SPACE = re.compile(r"^[ -]*[A-Za-z_]\w*:(?=[^\s:])")
SPACE = "A space belongs after the colon."
_MOST_VALUE = 60
"""Characters of a value on a button."""


@dataclass(frozen=True, kw_only=True)
class Click:
    """An edit with the words of its button. Characters are counted as browsers do, in UTF-16."""

    words: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A fault or a warning at its place: lines from 1, characters as browsers count them."""

    severity: Literal["error", "warning"]
    pointer: str
    code: str
    detail: str
    suggestion: str | None
    line: int
    start: int
    end: int
    fix: Click | None


class Marker:
    """Puts what was found into a text. Without places, as of a text that cannot be read, everything is at its beginning."""

    def __init__(self, text: str, places: Places | None) -> None:
        self._text, self._places = text, places
        self._wide = not text.isascii() and max(text) > "\uffff"

    def marks(self, errors: Iterable[Fault], warnings: Iterable[SpecWarning] = ()) -> list[Mark]:
        """Each at its place, the first line first, faults before warnings."""
        found = [self._mark(each, "error") for each in errors] + [self._mark(each, "warning") for each in warnings]
        return sorted(found, key=lambda mark: (mark.severity, mark.line, mark.start))

    def unreadable(self, faults: SpecFaults) -> list[Mark]:
        """The place where reading had to stop, with what is probably wrong there."""
        at = self._index(faults.at) if faults.at else 0
        span = Span(at, at) if not self._text[at : at + 1].strip() else Span(at, at + 1)
        click, suggestion = None, None
        for edit, words, why in _cures(self._text, faults.at):
            if _goes_on(edit.of(self._text), faults.at):
                click, suggestion = self.click(edit, words), why
                if edit.start == edit.end:
                    span = Span(self._text.rfind("\n", 0, edit.start) + 1, edit.start)
                break
        (fault,) = faults.faults
        return [self._placed(fault.model_copy(update={"suggestion": suggestion or fault.suggestion}), "error", span, click)]

    def _mark(self, found: Fault | SpecWarning, severity: Literal["error", "warning"]) -> Mark:
        if self._places is None:
            return self._placed(found, severity, Span(0, 0), None)
        is_key = found.code in ("unknown_key", "key_not_text", "repeated_key")
        span = self._places.span(found.pointer, key=is_key, again=found.code == "repeated_key")
        if found.code == "unknown_key" and (colon := self._text.find(":", span.start, span.end)) > 0:
            space = self.click(Edit(colon + 1, colon + 1, " "), "add the space")
            return self._placed(found.model_copy(update={"suggestion": SPACE}), severity, span, space)
        edit = edit_of(found.fix, self._places) if found.fix else None
        click = self.click(edit, self._words(found.fix)) if edit and found.fix else None
        return self._placed(found, severity, span, click)

    def _placed(self, found: Fault | SpecWarning, severity: Literal["error", "warning"], span: Span, click: Click | None) -> Mark:
        return Mark(
            severity=severity,
            pointer=found.pointer,
            code=found.code,
            detail=found.detail,
            suggestion=found.suggestion,
            line=self._text.count("\n", 0, span.start) + 1,
            start=self._told(span.start),
            end=self._told(span.end),
            fix=click,
        )

    def click(self, edit: Edit, words: str) -> Click:
        """An edit as a browser makes it."""
        return Click(words=words, start=self._told(edit.start), end=self._told(edit.end), text=edit.text)

    def _told(self, at: int) -> int:
        return len(self._text[:at].encode("utf-16-le")) // 2 if self._wide else at

    def _index(self, at: tuple[int, int]) -> int:
        lines = self._text.split("\n")
        line = min(at[0], len(lines) - 1)
        return min(sum(len(each) + 1 for each in lines[:line]) + at[1], len(self._text))

    def _words(self, fix: Fix) -> str:
        name = fix.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        value = rendered(fix.value)
        value = value if len(value) <= _MOST_VALUE else f"{value[:_MOST_VALUE]}..."
        match fix.op:
            case "rename":
                return f"rename to {fix.value}"
            case "insert":
                return f"insert {value}"
            case "remove":
                return f"remove {self._named(fix.pointer) if name.isdigit() else name}"
        return f"change to {value}" if name.isdigit() or name == "type" else f"set {name}: {value}"

    def _named(self, pointer: str) -> str:
        """An item by its type."""
        assert self._places is not None  # noqa: S101 - edits come of places
        node = self._places.way(pointer).last.value
        if isinstance(node, MappingNode):
            node = next((value for key, value in node.value if key.value == "type"), node)
        return str(node.value) if isinstance(node, ScalarNode) else "it"


def _cures(text: str, at: tuple[int, int] | None) -> Iterator[tuple[Edit, str, str]]:
    """What beginners do to a text so that it is no YAML, undone: (edit, words of the button, what to do)."""
    if _TABS.search(text):
        spaced = _TABS.sub(lambda found: found.group().replace("\t", "  "), text)
        yield Edit(0, len(text), spaced), "indent with spaces", "YAML is indented with spaces; a tab is not allowed there."
    if at is None:
        return
    lines: Sequence[str] = text.split("\n")
    start = 0
    for number, line in enumerate(lines[: at[0] + 1]):
        if number >= at[0] - 1 and (found := _NO_SPACE.match(line)):
            yield Edit(start + found.end(), start + found.end(), " "), "add the space", SPACE
        start += len(line) + 1
    closing = _unclosed(lines, at[0])
    if closing is not None:
        yield closing[0], f"close with {closing[1]}", f"A bracket is open; {closing[1]} closes it."


def _unclosed(lines: Sequence[str], last: int) -> tuple[Edit, str] | None:
    """What closes the brackets of the nearest line that leaves some open, at that line's end."""
    for number in range(min(last, len(lines) - 1), -1, -1):
        line = lines[number].partition(" #")[0].rstrip()
        waiting: list[str] = []
        for character in line:
            if character in "{[":
                waiting.append("}" if character == "{" else "]")
            elif waiting and character == waiting[-1]:
                waiting.pop()
        if waiting:
            at = sum(len(each) + 1 for each in lines[:number]) + len(line)
            closing = "".join(reversed(waiting))
            return Edit(at, at, closing), closing
    return None


def _goes_on(text: str, before: tuple[int, int] | None) -> bool:
    """Whether the text can be read now, or at least further than before."""
    try:
        compose(text.encode())
    except SpecFaults as error:
        return before is not None and error.at is not None and error.at[0] > before[0]
    return True

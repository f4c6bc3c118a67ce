"""What a check found, as marks in a text: lines, characters as browsers count them, and words on buttons."""

from __future__ import annotations

import pytest

from service.dashboard.marking import Mark, Marker
from service.spec.fixes import inserting, removing, renaming, setting
from service.spec.places import Places
from service.spec.text import compose
from service.spec.verdict import Fault, Fix, SpecFaults

TEXT = """\
name: net
model:
  layers:
    - Flatten
    - {type: Softmax, dim: 1}
optimizer: {type: Adam, lr: 0.1}
"""


def marked(text: str, *faults: Fault) -> list[Mark]:
    """The marks of a text that can be composed."""
    root = compose(text.encode())
    assert root is not None
    return Marker(text, Places(text, root)).marks(faults)


def fault(pointer: str, *, code: str = "c", fix: Fix | None = None) -> Fault:
    """One with nothing to say."""
    return Fault(pointer=pointer, code=code, detail="d", fix=fix)


def test_marks_have_lines_from_one_and_stand_in_the_order_of_the_text() -> None:
    """Whatever the order of the faults."""
    marks = marked(TEXT, fault("/optimizer/lr"), fault("/model/layers/1/dim"), fault("/loss"))

    assert [(mark.line, TEXT[mark.start : mark.end]) for mark in marks] == [(1, ""), (5, "1"), (6, "0.1")]


def test_characters_are_counted_as_browsers_do() -> None:
    """In UTF-16, where an emoji takes two."""
    text = f"name: {chr(0x1F642)} ä\nepochs: x\n"

    (mark,) = marked(text, fault("/epochs", fix=setting("/epochs", 1)))

    utf16 = text.encode("utf-16-le")
    assert utf16[2 * mark.start : 2 * mark.end].decode("utf-16-le") == "x"
    assert mark.fix is not None
    assert (mark.fix.start, mark.fix.end) == (mark.start, mark.end)


@pytest.mark.parametrize(
    ("fix", "words"),
    [
        (renaming("/optimizer/lr", "rate"), "rename to rate"),
        (setting("/optimizer/lr", 0.01), "set lr: 0.01"),
        (setting("/optimizer/type", "SGD"), "change to SGD"),
        (setting("/model/layers/0", "ReLU"), "change to ReLU"),
        (inserting("/model/layers/0", "ReLU"), "insert ReLU"),
        (removing("/model/layers/0"), "remove Flatten"),
        (removing("/model/layers/1"), "remove Softmax"),
        (removing("/optimizer/lr"), "remove lr"),
        (setting("/model/code", "x" * 200), f"set code: {'x' * 60}..."),
    ],
)
def test_a_button_says_what_it_does(fix: Fix, words: str) -> None:
    """In short."""
    (mark,) = marked(TEXT, fault("/name", fix=fix))

    assert mark.fix is not None
    assert mark.fix.words == words


@pytest.mark.parametrize(
    ("text", "line", "mended"),
    [
        ("a: 1\nb:2\nc: 3\n", 2, "a: 1\nb: 2\nc: 3\n"),
        ("a:\n  - b: 1\n    c:2\n  - d: 3\n", 3, "a:\n  - b: 1\n    c: 2\n  - d: 3\n"),
        ("a: {b: [1, 2\nc: 3\n", 1, "a: {b: [1, 2]}\nc: 3\n"),
        ("a: [1, 2  # two\nc: 3\n", 1, "a: [1, 2]  # two\nc: 3\n"),
        ("a:\n\t- 1\n\t- 2\n", 2, "a:\n  - 1\n  - 2\n"),
    ],
)
def test_what_makes_a_text_no_yaml_is_mended_where_it_is(text: str, line: int, mended: str) -> None:
    """Space after a colon, an open bracket, tabs."""
    mark = unreadable(text)

    assert mark.line == line
    assert mark.fix is not None
    assert text[: mark.fix.start] + mark.fix.text + text[mark.fix.end :] == mended
    assert mark.suggestion


@pytest.mark.parametrize("text", ["a: b: c\n", "a: 'x\n", "a: *b\n", "a: 1\n b: 2\n", "- a\nb: 1\n", "\x00"])
def test_what_nobody_can_mend_is_told_at_its_place(text: str) -> None:
    """Without a button."""
    mark = unreadable(text)

    assert mark.fix is None
    assert mark.code == "unreadable"


def unreadable(text: str) -> Mark:
    """The one mark of a text that is no YAML."""
    with pytest.raises(SpecFaults) as found:
        compose(text.encode())
    (mark,) = Marker(text, None).unreadable(found.value)
    return mark

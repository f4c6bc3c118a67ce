"""Where things stand in a text, and fixes as edits that leave everything else as it is."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from service.spec.edits import edit_of, rendered
from service.spec.fixes import fixed, inserting, parted, removing, renaming, setting
from service.spec.places import Places
from service.spec.text import compose, plain, values
from service.spec.verdict import Fix, SpecFaults

SPEC = """\
# a net
name: net   # its name
dataset: Digits
model:
  type: Sequential
  layers:   # in order
    # the first
    - Flatten
    - {type: Linear, out_features: 64}  # hidden
    - type: Linear
      out_features: 10
loss: {type: CrossEntropyLoss}
optimizer: {type: Adam, learning_rate: 0.1}

# how long
epochs: 5
"""


def places(text: str) -> Places:
    """Of a text that can be composed."""
    root = compose(text.encode())
    assert root is not None
    return Places(text, root)


def made(text: str, fix: Fix) -> str | None:
    """The text with the fix made."""
    edit = edit_of(fix, places(text))
    return edit.of(text) if edit else None


@pytest.mark.parametrize(
    ("pointer", "marked"),
    [
        ("/name", "net"),
        ("/dataset", "Digits"),
        ("/dataset/type", "Digits"),
        ("/model", "model"),
        ("/model/layers", "layers"),
        ("/model/layers/0", "Flatten"),
        ("/model/layers/1", "Linear"),
        ("/model/layers/1/out_features", "64"),
        ("/model/layers/1/kernel_size", "Linear"),
        ("/model/layers/2", "Linear"),
        ("/model/layers/2/out_features", "10"),
        ("/training/precision", ""),
        ("/optimizer/learning_rate", "0.1"),
        ("", ""),
    ],
)
def test_a_pointer_marks_what_it_names_or_what_should_hold_it(pointer: str, marked: str) -> None:
    """A scalar is marked itself, an object by its key, an item by its type; of what is missing the nearest that is there."""
    span = places(SPEC).span(pointer)

    assert SPEC[span.start : span.end] == marked


def test_a_key_is_marked_where_the_key_is_wrong() -> None:
    """Not its value."""
    span = places(SPEC).span("/optimizer/learning_rate", key=True)

    assert SPEC[span.start : span.end] == "learning_rate"


def test_a_fault_in_what_an_alias_brings_is_marked_where_it_is_written() -> None:
    """At the anchor, and at the merged mapping."""
    text = "base: &base {lr: 0.1}\none: *base\ntwo: {<<: *base, type: SGD}\n"

    spans = [places(text).span(pointer) for pointer in ("/one/lr", "/two/lr")]

    assert {text[span.start : span.end] for span in spans} == {"0.1"}
    assert {span.start for span in spans} == {text.index("0.1")}


@pytest.mark.parametrize("text", ["a: [&x {<<: *x}]\n", "a: &x [*x]\n", "a: &x {b: *x}\n"])
def test_what_leads_to_itself_has_its_place_too(text: str) -> None:
    """Nobody goes round in a circle."""
    span = places(text).span("/a/0/0/0")

    assert 0 <= span.start <= span.end <= len(text)
    assert edit_of(removing("/a/0/0"), places(text)) is None


@pytest.mark.parametrize(
    ("fix", "before", "after"),
    [
        (renaming("/optimizer/learning_rate", "lr"), "learning_rate", "lr"),
        (setting("/model/layers/1/out_features", 32), "out_features: 64", "out_features: 32"),
        (setting("/model/layers/2/out_features", 11), "out_features: 10\n", "out_features: 11\n"),
        (setting("/dataset/validation_split", 0.1), "dataset: Digits", "dataset: {type: Digits, validation_split: 0.1}"),
        (setting("/loss/type", "NLLLoss"), "CrossEntropyLoss", "NLLLoss"),
        (setting("/loss/label_smoothing", 0.1), "CrossEntropyLoss}", "CrossEntropyLoss, label_smoothing: 0.1}"),
        (setting("/training/fused", value=True), "epochs: 5\n", "epochs: 5\ntraining: {fused: true}\n"),
        (setting("/model/layers/2/bias", value=False), "out_features: 10\n", "out_features: 10\n      bias: false\n"),
        (inserting("/model/layers/0", {"type": "Dropout", "p": 0.5}), "    - Flatten", "    - {type: Dropout, p: 0.5}\n    - Flatten"),
        (inserting("/model/layers/-", "LogSoftmax"), "out_features: 10\n", "out_features: 10\n    - LogSoftmax\n"),
        (inserting("/dataset/transforms/-", "ToImage"), "dataset: Digits", "dataset: {type: Digits, transforms: [ToImage]}"),
        (removing("/model/layers/1"), "    - {type: Linear, out_features: 64}  # hidden\n", ""),
        (removing("/model/layers/2"), "    - type: Linear\n      out_features: 10\n", ""),
        (removing("/model/layers/2/type"), "- type: Linear\n      out_features", "- out_features"),
        (removing("/optimizer/learning_rate"), ", learning_rate: 0.1", ""),
        (removing("/optimizer/type"), "type: Adam, ", ""),
        (removing("/loss/type"), "{type: CrossEntropyLoss}", "{}"),
        (removing("/epochs"), "epochs: 5\n", ""),
    ],
)
def test_a_fix_changes_its_place_alone(fix: Fix, before: str, after: str) -> None:
    """Comments, order and layout stay; what is read then is the body with the same fix made."""
    assert SPEC.count(before) == 1

    text = made(SPEC, fix)

    assert text == SPEC.replace(before, after)
    assert read(text) == fixed(read(SPEC), fix)


@pytest.mark.parametrize(
    ("text", "fix", "wanted"),
    [
        ("a:\nb: 1\n", setting("/a", 2), "a: 2\nb: 1\n"),
        ("a: # none\nb: 1\n", setting("/a", 2), "a: 2 # none\nb: 1\n"),
        ("a: &x 1\nb: 2\n", setting("/a", 3), "a: &x 3\nb: 2\n"),
        ("a: |\n  text\n  more\n\nb: 1\n", setting("/a", "t"), "a: t\n\nb: 1\n"),
        ("a: |\n  text\n# end\nb: 1\n", setting("/c", 1), "a: |\n  text\n# end\nb: 1\nc: 1\n"),
        ("a:\n  b: |\n    text\n\nc: 1\n", setting("/a/d", 1), "a:\n  b: |\n    text\n  d: 1\n\nc: 1\n"),
        ("a:\n- 1\n- 2\nb: 3\n", setting("/a", [4]), "a:\n  [4]\nb: 3\n"),
        ("a:\n- 1\n- 2\nb: 3\n", inserting("/a/-", 4), "a:\n- 1\n- 2\n- 4\nb: 3\n"),
        ("a:\n- 1\n- 2\nb: 3\n", removing("/a/0"), "a:\n- 2\nb: 3\n"),
        ("a:\n  - - 1\n    - 2\n", removing("/a/0/0"), "a:\n  - - 2\n"),
        ("a:\n  - - 1\n    - 2\n", inserting("/a/0/0", 0), "a:\n  - - 0\n    - 1\n    - 2\n"),
        ("a:\n  b: 1\nc: 2\n", removing("/a/b"), "a:\n  {}\nc: 2\n"),
        ("a: [1, 2]", removing("/a/1"), "a: [1]"),
        ("a: [\n  1,\n  2,\n]\n", inserting("/a/-", 3), "a: [\n  1,\n  2, 3,\n]\n"),
        ("a: [type: x, y]\n", setting("/a/0/b", 1), "a: [{type: x, b: 1}, y]\n"),
        ("a: [type: x, y]\n", removing("/a/0"), "a: [y]\n"),
        ("a: [type: x, y]\n", removing("/a/0/type"), "a: [{}, y]\n"),
        ("a: [x, type: y]\n", inserting("/a/-", 1), "a: [x, type: y, 1]\n"),
        ("a: []\n", inserting("/a/-", 3), "a: [3]\n"),
        ("a: 1\nb: 2", removing("/b"), "a: 1"),
        ("x: &x 3\na: {b: *x}\n", setting("/a/c", 1), "x: &x 3\na: {b: *x, c: 1}\n"),
        ('{"a": {"b": 1}}', setting("/a/c", value=None), '{"a": {"b": 1, "c": null}}'),
        ('{"a": {"b": 1}}', renaming("/a/b", "c"), '{"a": {"c": 1}}'),
        ('{\n  "a": 1\n}', setting("/b", "x"), '{\n  "a": 1,\n  "b": "x"\n}'),
        ("base: &b {lr: 1}\no: {<<: *b}\n", setting("/o/lr", 2), "base: &b {lr: 1}\no: {<<: *b, lr: 2}\n"),
        ('a: "q" # c\n', setting("/a", "ü: x"), 'a: "ü: x" # c\n'),
        ("ä: {b: 1}\n", setting("/ä/b", 2), "ä: {b: 2}\n"),
    ],
)
def test_every_style_of_yaml_is_edited_as_it_is_written(text: str, fix: Fix, wanted: str) -> None:
    """Blocks, brackets, JSON, empty values, anchors and merged keys."""
    assert made(text, fix) == wanted
    assert read(wanted) == fixed(read(text), fix)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("a: &x {lr: 1}\nb: *x\n", setting("/b/lr", 2)),
        ("a: &x {lr: 1}\nb: *x\n", setting("/a/lr", 2)),
        ("a: &x {lr: 1}\nb: {<<: *x}\n", removing("/b/lr")),
        ("a: &x [1]\nb: *x\n", inserting("/b/-", 2)),
    ],
)
def test_what_others_share_is_left_alone(text: str, fix: Fix) -> None:
    """There is no edit that changes one of them only."""
    assert made(text, fix) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: 1\nb: 2\na: 3\n", "a: 1\nb: 2\n"),
        ("labels: {1: one}\n", 'labels: {"1": one}\n'),
        ("name: 2024-01-31\n", 'name: "2024-01-31"\n'),
    ],
)
def test_what_json_does_not_hold_is_mended_in_the_text(text: str, wanted: str) -> None:
    """A key that comes again goes; keys and dates are put into quotes."""
    with pytest.raises(SpecFaults) as found:
        read(text)
    (fault,) = found.value.faults
    assert fault.fix

    assert made(text, fault.fix) == wanted
    read(wanted)


def test_reading_says_where_it_had_to_stop() -> None:
    """Line and column from 0, for whoever marks them."""
    with pytest.raises(SpecFaults) as found:
        compose(b"a: 1\nb: [1, 2\nc: 3\n")

    assert found.value.at == (2, 1)


def read(text: str | None) -> dict[str, Any]:
    """What a text says."""
    assert text is not None
    return plain(values(compose(text.encode())))


KEYS = st.sampled_from(["type", "lr", "layers", "a b", "ü", "on"])
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-1, 1) | st.sampled_from(["ReLU", "two words", "yes", "- x", "#1", ""])
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12)
BODIES = st.dictionaries(KEYS, TREES, min_size=1, max_size=4)


def dumped(body: dict[str, Any], style: str) -> str:
    """The body in one of the styles that people and programs write."""
    if style == "json":
        return json.dumps(body, ensure_ascii=False)
    if style == "pretty":
        return json.dumps(body, indent=2)
    yaml = YAML()
    yaml.default_flow_style = {"block": False, "mixed": None, "flow": True}[style]
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(body, out)
    return out.getvalue()


def pointers(node: Any, above: str = "") -> list[str]:
    """Every place inside."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [each for key, value in entries for each in (f"{above}/{key}", *pointers(value, f"{above}/{key}"))]


@given(BODIES, SCALARS, st.sampled_from(["block", "mixed", "flow", "json", "pretty"]), st.data())
def test_an_edit_says_what_its_fix_says(body: dict[str, Any], value: Any, style: str, data: st.DataObject) -> None:
    """Whatever the text, the fix and the style: reading the edited text gives the fixed body."""
    text = dumped(body, style)
    pointer = data.draw(st.sampled_from(pointers(body)))
    above = pointer.rpartition("/")[0]
    parent = body if not above else at(body, above)
    fixes = [setting(pointer, value), removing(pointer)]
    fixes += (
        [inserting(pointer, value), inserting(f"{above}/-", value)]
        if isinstance(parent, list)
        else [renaming(pointer, "new"), setting(f"{above}/new", value)]
    )
    fix = data.draw(st.sampled_from(fixes))

    edited = made(text, fix)

    assert edited is None or read(edited) == fixed(body, fix), (text, fix, edited)
    assert edited is not None or '""' in text or "''" in text or "null" in text or ":\n" in text or "-\n" in text, (text, fix)


def at(body: Any, pointer: str) -> Any:
    """The value there."""
    for part in parted(pointer):
        body = body[int(part) if isinstance(body, list) else part]
    return body


@given(TREES)
def test_what_is_written_is_read_again(value: Any) -> None:
    """In brackets and as JSON."""
    for as_json in (False, True):
        assert read(f"a: {rendered(value, as_json=as_json)}") == {"a": value}

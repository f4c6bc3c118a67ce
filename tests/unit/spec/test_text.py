"""Reading a body: what JSON cannot hold is refused, each at its place, with what to write instead."""

from __future__ import annotations

import pytest

from service.spec.text import MAX_BYTES, MAX_FAULTS, parse_body
from service.spec.verdict import Fault, SpecFaults

YAML, JSON = "application/yaml", "application/json"


def faults(data: bytes, kind: str = YAML) -> list[Fault]:
    """Every fault of a body that has some."""
    with pytest.raises(SpecFaults) as found:
        parse_body(data, kind)
    return list(found.value.faults)


@pytest.mark.parametrize(
    ("data", "pointer", "code"),
    [
        (b"a: {b: 2024-01-31}", "/a/b", "only_yaml"),
        (b"a: [2024-01-31T10:00:00Z]", "/a/0", "only_yaml"),
        (b"a: 2024-13-45", "/a", "only_yaml"),
        (b"a: !!timestamp soon", "/a", "only_yaml"),
        (b"a: [1, !!binary aGk=]", "/a/1", "only_yaml"),
        (b"a: !!binary '*'", "/a", "only_yaml"),
        (b"a: !!set {x, y}", "/a", "only_yaml"),
        (b"a: !!omap [x: 1]", "/a", "only_yaml"),
        (b"a: !!pairs [x: 1]", "/a", "only_yaml"),
        (b"optimizer: {lr: .nan}", "/optimizer/lr", "finite_number"),
        (b"optimizer: {betas: [0.9, -.inf]}", "/optimizer/betas/1", "finite_number"),
        (b"a: 1e999", "/a", "finite_number"),
        (b"a: {1: 2}", "/a/1", "key_not_text"),
        (b"true: 2", "/true", "key_not_text"),
        (b"~: 2", "/~0", "key_not_text"),
        (b"2024-01-31: 2", "/2024-01-31", "key_not_text"),
        (b"a: {? [x] : 2}", "/a", "key_not_text"),
        (b"a: {b/c: 1, b/c: 2}", "/a/b~1c", "repeated_key"),
        (b"a: {<<: {x: 1}, <<: 3}", "/a/<<", "bad_merge"),
        (b"a: !mine 3", "/a", "unknown_tag"),
        (b"a: !!map [x]", "/a", "unknown_tag"),
        (b"a: !!bool maybe", "/a", "unreadable"),
        (b"a: !!int ''", "/a", "unreadable"),
        (b"a: " + b"1" * 5000, "/a", "unreadable"),
    ],
)
def test_what_only_yaml_has_is_refused_at_its_place(data: bytes, pointer: str, code: str) -> None:
    """Dates, binary data, sets, ordered maps, non-numbers, odd or repeated keys and foreign tags are one fault each, with a suggestion."""
    (fault,) = faults(data)

    assert (fault.pointer, fault.code) == (pointer, code)
    assert fault.suggestion


@pytest.mark.parametrize(
    ("data", "pointer", "code"),
    [
        (b'{"optimizer": {"lr": NaN}}', "/optimizer/lr", "finite_number"),
        (b'{"a": [0, Infinity]}', "/a/1", "finite_number"),
        (b'{"a": -Infinity}', "/a", "finite_number"),
        (b'{"a": 1e999}', "/a", "finite_number"),
        (b'{"a": 1, "a": 1}', "/a", "repeated_key"),
        (b'{"a": [{"b": 1, "b": {}}]}', "/a/0/b", "repeated_key"),
    ],
)
def test_what_python_alone_takes_for_json_is_refused_at_its_place(data: bytes, pointer: str, code: str) -> None:
    """NaN, infinity, also by overflow, and a key that comes twice are one fault each, with a suggestion."""
    (fault,) = faults(data, JSON)

    assert (fault.pointer, fault.code) == (pointer, code)
    assert fault.suggestion


def test_all_faults_come_at_once() -> None:
    """One reading names every place, in the order of the body, up to a limit."""
    assert [fault.pointer for fault in faults(b"a: 2024-01-31\nb: {c: .nan, 7: 8}\nd: !!set {x}\na: 1")] == [
        "/a",
        "/b/c",
        "/b/7",
        "/d",
        "/a",
    ]
    assert len(faults(b'{"a": [' + b"NaN, " * 1000 + b"NaN]}", JSON)) == MAX_FAULTS


def test_quotes_make_text_of_anything() -> None:
    """What the suggestions say is accepted: quoted values and keys, and plain objects and lists."""
    assert parse_body(b"a: '2024-01-31'\n'1': .5\n'true': ['.nan', no, =]", YAML) == {
        "a": "2024-01-31", "1": 0.5, "true": [".nan", "no", "="],
    }  # fmt: skip


def test_merges_are_followed_and_do_not_count_as_repetition() -> None:
    """`<<` brings an anchor's keys; the object's own win, then those of the first that is merged."""
    read = parse_body(b"base: &b {x: 1, y: 2}\none: {<<: *b, x: 3}\ntwo: {<<: [*b, {y: 9, z: 4}]}", YAML)

    assert read == {"base": {"x": 1, "y": 2}, "one": {"x": 3, "y": 2}, "two": {"x": 1, "y": 2, "z": 4}}


@pytest.mark.parametrize(
    "links",
    [b"[*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]", b"{p: *a%d, q: *a%d, r: *a%d, s: *a%d, t: *a%d, u: *a%d, v: *a%d, w: *a%d}"],
)
def test_aliases_of_aliases_are_counted_as_what_they_stand_for(links: bytes) -> None:
    """Few aliases that stand for billions of values are refused before anyone walks through them."""
    laughs = b"a0: &a0 [x, x, x, x, x, x, x, x]\n" + b"".join(b"a%d: &a%d %s\n" % (n, n, links % ((n - 1,) * 8)) for n in range(1, 13))

    (fault,) = faults(laughs)

    assert len(laughs) < MAX_BYTES
    assert "aliases are followed" in fault.detail


def test_merges_of_merges_stay_small() -> None:
    """Merging an anchor eight times in each of twelve levels gives its keys once."""
    laughs = b"a0: &a0 {x: 1}\n" + b"".join(b"a%d: &a%d {<<: [%s]}\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 8)) for n in range(1, 13))

    assert parse_body(laughs, YAML)["a12"] == {"x": 1}


@pytest.mark.parametrize("data", [b"a: &a [*a]", b"a: &a {b: *a}"])
def test_a_value_inside_itself_is_refused(data: bytes) -> None:
    """An anchor that holds its own alias is nested without end."""
    assert "nested deeper" in faults(data)[0].detail

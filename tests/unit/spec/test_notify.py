"""`notify` of a spec: what is refused with which place and cure, what is shown of it afterwards, and that nothing else depends on it."""

from __future__ import annotations

from typing import Any

import pytest

from service.api.examples import examples
from service.spec.checking import needed, verdict
from service.spec.fixes import fixed
from service.spec.job import JobSpec, read_parts
from service.spec.notify import hidden, is_hidden, placed, with_hidden
from service.spec.verdict import Checked
from service.use_cases.judging import shape_of

SPEC = examples()["digits-mlp"]
URL = "https://hooks.example.com/services/T0/secret?token=x"


def with_notify(notify: Any) -> dict[str, Any]:
    return {**SPEC, "notify": notify}


def test_left_out_it_tells_nobody_and_events_are_the_three_ends() -> None:
    assert JobSpec.model_validate(SPEC).notify == ()
    (endpoint,) = JobSpec.model_validate(with_notify([{"url": URL}])).notify
    assert endpoint.events == ("succeeded", "failed", "cancelled")


@pytest.mark.parametrize(
    ("notify", "pointer", "code"),
    [
        ([{}], "/notify/0", "missing"),
        ([{"urls": URL}], "/notify/0/urls", "unknown_key"),
        ([{"url": 7}], "/notify/0/url", "string_type"),
        ([{"url": "http//x"}], "/notify/0/url", "bad_url"),
        ([{"url": "https://u:hunter2@a.example/"}], "/notify/0/url", "bad_url"),
        ([{"url": "https://a.example/" + "x" * 2000}], "/notify/0/url", "string_too_long"),
        ([{"url": URL, "events": []}], "/notify/0/events", "too_short"),
        ([{"url": URL, "events": ["succeeded", "done"]}], "/notify/0/events/1", "literal_error"),
        ([{"url": URL}, {"url": URL, "events": ["running"]}], "/notify/1", "duplicate"),
        ([{"url": f"{URL}{at}"} for at in range(11)], "/notify", "too_long"),
        (URL, "/notify", "tuple_type"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(notify: Any, pointer: str, code: str) -> None:
    """And no password is repeated."""
    faults = read_parts(with_notify(notify))[1]

    assert [(fault.pointer, fault.code) for fault in faults if fault.code != "missing" or code == "missing"] == [(pointer, code)]
    assert "hunter2" not in str(faults)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("HTTPS://hooks.example.com/x", "https://hooks.example.com/x"),
        ("https://hooks.example.com./x", "https://hooks.example.com/x"),
        ("https://hooks.example.com/x#part", "https://hooks.example.com/x"),
        ("https://bücher.example/x", "https://xn--bcher-kva.example/x"),
    ],
)
def test_where_the_right_url_is_plain_the_fix_makes_it(url: str, meant: str) -> None:
    (fault,) = read_parts(with_notify([{"url": url}]))[1]
    assert fault.fix is not None

    mended = fixed(with_notify([{"url": url}]), fault.fix)

    assert mended["notify"] == [{"url": meant}]
    assert read_parts(mended)[1] == []


def test_what_is_shown_says_where_to_and_no_more() -> None:
    """It is a URL all the same, so that a worker reads such a spec."""
    shown = with_hidden(with_notify([{"url": URL, "events": ["failed"]}, {"url": "https://[2606:4700::1]:8443/x"}]))

    assert shown["notify"] == [{"url": "https://hooks.example.com/…", "events": ["failed"]}, {"url": "https://[2606:4700::1]:8443/…"}]
    assert read_parts(shown)[1] == []
    assert all(is_hidden(each["url"]) for each in shown["notify"])
    assert hidden(shown["notify"][0]["url"]) == shown["notify"][0]["url"]
    assert placed(URL).rest == "/services/T0/secret?token=x"


def test_nothing_of_the_training_depends_on_it() -> None:
    """Two specs that differ in notify alone share one check, one judgement and one resolved spec."""
    one, other = with_notify([{"url": URL}]), with_notify([{"url": URL + "2"}, {"url": "https://b.example/"}])

    assert needed(one) == needed(other) == needed(SPEC)
    assert shape_of(one) == shape_of(other)
    found = [verdict(body, None, threads=1) for body in (one, other, SPEC)]
    assert all(each.valid for each in found)
    resolved = _resolved(one), _resolved(other), _resolved(SPEC)
    assert resolved[0] == resolved[1] == resolved[2]
    assert "notify" not in resolved[0]


def _resolved(body: dict[str, Any]) -> dict[str, Any]:
    resolved = verdict(body, Checked(), threads=1).resolved_spec
    assert resolved is not None
    return resolved

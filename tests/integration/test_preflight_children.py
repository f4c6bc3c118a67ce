"""The checking children: limits, verdicts remembered, and what callers hear when all are busy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from service.adapters import bubblewrap
from service.adapters.preflight_child import PreflightChildren, contained_child
from service.jobs.errors import PreflightBusy
from service.spec.checking import needed
from tests.corpus.good import HEAD, spec

SLOW = spec(
    HEAD,
    model={
        "type": "Module",
        "class_name": "Net",
        "code": "import time\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        time.sleep(3600)\n",
    },
)
GREEDY = spec(["Flatten", {"type": "Linear", "out_features": 3}], dataset={"image_size": [3, 60000, 60000]})


@pytest.fixture(scope="module")
def children() -> Iterator[PreflightChildren]:
    """Real ones, with short patience."""
    made = PreflightChildren(contained=partial(contained_child, trusts_code=False), timeout_seconds=6, wait_seconds=0.2)
    yield made
    made.close()


def test_a_verdict_is_remembered_by_what_it_depends_on(children: PreflightChildren):
    """Seed, name and learning rate are nobody's business here; a size is."""
    first = children.check(needed(spec(HEAD, seed=1, name="a", optimizer={"type": "SGD", "lr": 0.1})))
    again = children.check(needed(spec(HEAD, seed=2, name="b", optimizer={"type": "SGD", "lr": 0.2})))
    other = children.check(needed(spec([{"type": "Linear", "out_features": 4}, *HEAD])))

    assert again is first
    assert other.num_parameters != first.num_parameters


def test_equal_specs_at_once_are_checked_once():
    """Who waited for the child finds the verdict that it has just given."""
    patient = PreflightChildren(contained=partial(contained_child, trusts_code=False), wait_seconds=60)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: patient.check(needed(spec(["Tanh", *HEAD]))), range(6)))
    patient.close()

    assert {id(each) for each in found} == {id(found[0])}


def test_a_spec_that_exhausts_memory_is_refused_and_the_next_is_served(children: PreflightChildren):
    """Its samples alone are 10 GB."""
    refused = children.check(needed(GREEDY))
    after = children.check(needed(spec(["ReLU", *HEAD])))

    assert refused.errors
    assert not after.errors


@pytest.mark.skipif(bubblewrap.unavailable() is not None, reason=str(bubblewrap.unavailable()))
def test_code_that_never_ends_is_refused_and_others_hear_that_all_are_busy(children: PreflightChildren):
    """One contained child at a time here; the second caller is told to come again."""
    found = []
    caller = threading.Thread(target=lambda: found.append(children.check(needed(SLOW))))
    caller.start()
    while children._apart._value:
        assert caller.is_alive()
    with pytest.raises(PreflightBusy):
        children.check(needed(SLOW | {"dataloader": {"batch_size": 4}}))
    caller.join(60)

    assert [fault.code for fault in found[0].errors] == ["check_exhausted"]


def test_without_containment_custom_code_is_refused_with_the_reason_and_the_setting(monkeypatch: pytest.MonkeyPatch):
    """A machine that lacks bubblewrap."""
    monkeypatch.setattr(bubblewrap, "unavailable", lambda: "Bubblewrap is not installed.")
    alone = PreflightChildren(contained=partial(contained_child, trusts_code=False))

    fault = alone.check(needed(SLOW)).errors[0]

    assert "Bubblewrap is not installed" in fault.detail
    assert "TRAINYARD_UNCONTAINED_CODE" in (fault.suggestion or "")

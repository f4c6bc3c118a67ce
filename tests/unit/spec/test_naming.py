"""Data that a model is asked about: their classes in the model's order, by name where both have names, by place where one has none."""

from __future__ import annotations

from typing import Any

import pytest

from service.spec.content import Content
from service.spec.naming import as_named

DIGITS = tuple(str(at) for at in range(12))


def content(*classes: str, **changes: Any) -> Content:
    return Content(layout="arrays", samples="images", labels="class", classes=classes, sizes={"train": 1}).model_copy(update=changes)


@pytest.mark.parametrize(
    ("here", "known", "classes", "order"),
    [
        (("cat", "dog"), ("cat", "dog"), ("cat", "dog"), ()),
        (("cat", "dog"), ("dog", "cat"), ("dog", "cat"), (1, 0)),
        (("cat", "dog"), ("ant", "cat", "dog"), ("ant", "cat", "dog"), (1, 2)),
        (("cat", "dog"), ("cat", "dog", "eel"), ("cat", "dog", "eel"), (0, 1)),
        (("0", "1"), ("cat", "dog"), ("0", "1"), ()),
        (("cat", "dog"), ("0", "1"), ("cat", "dog"), ()),
        (("3", "7"), DIGITS[:10], DIGITS[:10], (3, 7)),
        (DIGITS, tuple(sorted(DIGITS)), tuple(sorted(DIGITS)), tuple(sorted(DIGITS).index(each) for each in DIGITS)),
    ],
)
def test_classes_are_compared_by_name(here: tuple[str, ...], known: tuple[str, ...], classes: tuple[str, ...], order: tuple[int, ...]):
    """Folders called 0 to 11 are sorted as words."""
    found, faults = as_named(content(*here), "class", known, pointer="/dataset/name")

    assert not faults
    assert (found.classes, found.order) == (classes, order)


def test_a_class_that_the_model_does_not_know_is_a_fault_that_names_it():
    _, (fault,) = as_named(content("cat", "dgo", "eel"), "class", ("cat", "dog"), pointer="/dataset/root")

    assert (fault.pointer, fault.code) == ("/dataset/root", "unknown_class")
    assert "dgo, eel" in fault.detail
    assert fault.suggestion is not None
    assert "`dog`" in fault.suggestion


def test_labels_and_numbers_have_to_be_all_there():
    """A model that answers three things cannot be judged by two; names that arrays were given count for nothing."""
    several = content("round", "red", labels="several")

    found, faults = as_named(several, "several", ("red", "round"), pointer="")
    assert (found.classes, found.order, faults) == (("red", "round"), (1, 0), [])
    _, (fault,) = as_named(several, "several", ("red", "round", "soft"), pointer="")
    assert "soft" in fault.detail
    for made_up in (("label_0", "label_1"), ("target_0", "target_1")):
        assert as_named(content(*made_up, labels="several"), "several", ("red", "round"), pointer="")[1] == []
    assert as_named(content("target", labels="numbers"), "numbers", ("price",), pointer="")[1] == []


def test_data_without_labels_have_the_models():
    found, faults = as_named(content(labels=None, labelled=False), "several", ("red", "round"), pointer="")

    assert (found.labels, found.classes, found.labelled, faults) == ("several", ("red", "round"), False, [])

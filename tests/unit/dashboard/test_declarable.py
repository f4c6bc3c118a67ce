"""What the catalog's pages tell is right."""

from __future__ import annotations

from typing import Any

import pytest

from service.dashboard.declarable import Entry, groups, in_words
from service.spec.catalog import load
from service.spec.job import JobSpec
from service.spec.text import parse_body

WHOLE: dict[str, Any] = {
    "dataset": {"type": "Digits", "validation_split": 0.1},
    "model": {"type": "Sequential", "layers": ["Flatten"]},
    "loss": "CrossEntropyLoss",
    "optimizer": "SGD",
    "epochs": 1,
}
ENTRIES = [entry for group in groups() for entry in group.entries]


def spec_with(entry: Entry) -> dict[str, Any]:
    """A whole spec that has the snippet where the page says that it stands."""
    if not entry.snippet.startswith("- "):
        return WHOLE | parse_body(entry.snippet.encode(), "application/yaml")
    items = parse_body(f"items:\n{entry.snippet}".encode(), "application/yaml")["items"]
    match entry.group:
        case "layers" | "composites":
            return WHOLE | {"model": {"type": "Sequential", "layers": items}}
        case group:
            return WHOLE | {"dataset": {"type": "Digits", group: items}}


@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{entry.group}-{entry.name}" for entry in ENTRIES])
def test_every_snippet_is_a_right_part_of_a_spec(entry: Entry):
    assert entry.name in str(JobSpec.model_validate(spec_with(entry)).model_dump()) or entry.group == "parts"


def test_nothing_of_the_catalog_is_missing():
    told = {(entry.group, entry.name) for entry in ENTRIES}

    assert {(group, name) for group, entries in load().items() if isinstance(entries, dict) for name in entries} <= told


def test_everything_says_what_it_is():
    assert all(entry.help for entry in ENTRIES)


@pytest.mark.parametrize(
    ("group", "name", "argument", "words"),
    [
        ("layers", "Conv2d", "padding", "int ≥ 0, or a list of 2, or same or valid"),
        ("layers", "AdaptiveAvgPool2d", "output_size", "int ≥ 1, or a list of 2, or null"),
        ("layers", "Dropout", "p", "float ≥ 0, ≤ 1"),
        ("losses", "CrossEntropyLoss", "reduction", "mean | sum"),
        ("schedulers", "OneCycleLR", "max_lr", "float > 0, or a list"),
        ("schedulers", "SequentialLR", "schedulers", "list of schedulers"),
        ("datasets", "FakeData", "image_size", "list of 3 ints ≥ 1"),
    ],
)
def test_a_type_is_told_in_words(group: str, name: str, argument: str, words: str):
    assert in_words(load()[group][name]["args"][argument]) == words

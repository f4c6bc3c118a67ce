"""The reference pages are whole: every key, argument, parameter and status has its words, and nothing that a spec can say is missing."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import BaseModel

from service.reference.__main__ import DOCS, pages
from service.reference.api import undescribed
from service.reference.spec import CATALOG_PAGES, keys
from service.reference.types import Words
from service.spec import dataset, export, model, training
from service.spec.catalog import load
from service.spec.job import JobSpec

RECORDS = [
    JobSpec,
    dataset.Dataset,
    training.DataLoader,
    training.WeightedRandomSampler,
    *model.COMPOSITES,
    model.Node,
    model.Torchvision,
    model.Module,
    model.FromJob,
    training.Optimizer,
    training.ParameterGroup,
    training.Training,
    training.EarlyStopping,
    training.Checkpoint,
    training.Evaluation,
    export.Onnx,
    training.Resources,
]
PAGES = {path.relative_to(DOCS).as_posix(): text for path, text in pages().items()}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_key_says_what_it_is_for(record: type[BaseModel]):
    """A key without a description (`Field(description=...)`) would stand in the reference without a word."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in keys(record).splitlines()[2:]]

    assert rows
    assert [row[0].strip() for row in rows if not row[3].strip()] == []
    assert all(row[0].strip() in PAGES["spec.md"] for row in rows)


@pytest.mark.parametrize("group", CATALOG_PAGES)
def test_everything_in_the_catalog_has_its_place(group: str):
    page = PAGES[f"spec/{group}.md"]

    for name, entry in load()[group].items():
        section = re.search(rf'<details id="{name.lower()}"><summary>(.*?)</details>', page, flags=re.DOTALL)
        assert section or f"`{name}`" in page, name
        assert all(f"| `{argument}` |" in section[1] for argument in entry.get("args", {})), name


def test_every_route_is_there_with_its_parameters_told():
    openapi = json.loads((DOCS / "openapi.json").read_text())
    routes = [f"### {method.upper()} {path}\n" for path, methods in openapi["paths"].items() for method in methods]

    assert len(routes) > 30
    assert [route for route in routes if route not in PAGES["api.md"]] == []
    assert undescribed(openapi) == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "int, at least 1"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "float, above 0 and below 1"),
        ({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}]}, "int, 1 to 9, or null"),
        (
            {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}]},
            "int, or a list of 2",
        ),
        ({"enum": ["min", "max"], "type": "string"}, "`min`, `max`"),
        ({"type": "array", "items": {"$ref": "#/$defs/Node"}}, "list of `Node`"),
        ({"type": "string", "maxLength": 200}, "str, at most 200 characters"),
    ],
)
def test_a_schema_in_words(schema: dict, words: str):
    assert Words(lambda _: None).of(schema) == words

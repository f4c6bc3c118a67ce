"""What the pages of data sets tell."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.dashboard.datasets import bars, in_short, snippet
from service.datasets.record import DatasetState, DatasetVersion
from service.spec.content import Column, Content
from service.spec.job import JobSpec
from service.spec.text import parse_body

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IMAGES = Content(
    layout="class_folders",
    samples="images",
    shape=(3, None, None),
    labels="class",
    classes=("cat", "dog"),
    sizes={"train": 40, "test": 10},
    counts={"cat": {"train": 30, "test": 10}, "dog": {"train": 10}},
)
TABLE = Content(
    layout="table",
    samples="rows",
    sizes={"train": 7},
    columns=(Column(name="size", kind="numeric"), Column(name="kind", kind="categorical", values=("a", "b"))),
)


def version(content: Content | None, state: DatasetState = DatasetState.READY) -> DatasetVersion:
    return DatasetVersion(name="mine", version="0" * 64, size=1, created_at=NOW, state=state, content=content)


def test_bars_share_one_scale_and_their_parts_lie_side_by_side():
    cat, dog = bars(IMAGES)

    assert cat.parts == [("train", 0.0, 75.0), ("test", 75.0, 25.0)]
    assert dog.parts == [("train", 0.0, 25.0)]


def test_a_class_without_samples_has_an_empty_bar():
    content = IMAGES.model_copy(update={"classes": ("cat", "dog", "eel")})

    assert bars(content)[-1].total == 0
    assert bars(TABLE) == []


@pytest.mark.parametrize(
    ("content", "state", "words"),
    [
        (IMAGES, DatasetState.READY, "50 images of 3 \N{MULTIPLICATION SIGN} any \N{MULTIPLICATION SIGN} any, 2 classes"),
        (TABLE, DatasetState.READY, "7 rows of 2 columns"),
        (None, DatasetState.VALIDATING, "is being looked at"),
        (None, DatasetState.INVALID, "cannot be used"),
    ],
)
def test_a_data_set_is_told_in_a_line(content: Content | None, state: DatasetState, words: str):
    assert in_short(version(content, state)) == words


@pytest.mark.parametrize("content", [IMAGES, TABLE])
def test_the_snippet_is_a_right_part_of_a_spec(content: Content):
    rest = {"model": {"type": "Sequential", "layers": ["Flatten"]}, "loss": "CrossEntropyLoss", "optimizer": "SGD", "epochs": 1}
    part = parse_body(snippet(version(content)).encode(), "application/yaml")
    with_content = {"dataset": {**part["dataset"], "version": "0" * 64, "content": content.model_dump(mode="json")}}

    assert not JobSpec.model_validate(rest | with_content).dataset.column_faults

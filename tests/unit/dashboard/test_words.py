"""Numbers, sizes and times as pages say them."""

from __future__ import annotations

import pytest

from service.dashboard.pages import count, duration, number, size
from service.dashboard.sessions import inside
from service.dashboard.sparks import MOST_VALUES, Course, monitored


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "\N{EN DASH}"), (0, "0"), (3.0, "3"), (0.98765, "0.9877"), (1e-5, "1e-05"), (123456.7, "1.23e+05"), (-0.5, "-0.5000")],
)
def test_a_metric_keeps_the_digits_that_tell_something(value: float | None, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(("value", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (42_000_000, "42.0 MB"), (3e13, "30.0 TB")])
def test_a_size_stands_in_its_unit(value: float, words: str) -> None:
    assert size(value) == words


@pytest.mark.parametrize(("value", "words"), [(999, "999"), (9999, "9,999"), (12_345, "12.3 k"), (11_689_512, "11.7 M"), (1.8e9, "1.8 G")])
def test_a_count_is_short(value: float, words: str) -> None:
    assert count(value) == words


@pytest.mark.parametrize(("value", "words"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.6, "1 min"), (200, "3 min 20 s"), (90_000, "1 d 1 h")])
def test_a_duration_has_two_units_at_most(value: float, words: str) -> None:
    assert duration(value) == words


@pytest.mark.parametrize(
    ("address", "kept"), [("/jobs/x?y=1", "/jobs/x?y=1"), ("//else", "/"), ("/\\else", "/"), ("https://else", "/"), ("", "/")]
)
def test_the_door_leads_inside(address: str, kept: str) -> None:
    assert inside(address) == kept


def test_a_thumbnail_stays_short_however_long_a_job_grows_and_ends_where_it_is() -> None:
    rows = [{"step": at, "train_loss": 1 / at, "val_loss": at} for at in range(1, 5001)]
    course = Course(None)

    for start in range(0, 5000, 7):
        course.grow(rows[start : start + 7])

        values = course.drawn()["values"]
        assert len(values) <= 2 * MOST_VALUES + 1
        assert values[-1] == min(start + 7, 5000)
        assert values == sorted(values)
    assert course.drawn()["name"] == "val_loss"
    assert course.last_step == 5000


def test_a_thumbnail_shows_what_the_job_watches_itself() -> None:
    course = Course(monitored({"checkpoint": {"monitor": "train_loss"}}))

    course.grow([{"step": 1, "train_loss": 0.5, "val_accuracy": 0.9}])

    assert course.drawn() == {"name": "train_loss", "values": [0.5]}
    assert monitored({"checkpoint": "best"}) is None
    assert Course(None).drawn() == {"name": None, "values": []}

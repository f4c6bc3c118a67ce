"""What a notebook shows: every fact in its place, nothing of a name or message as markup, a curve that says what was measured."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import httpx2
import pytest

from service.client import Job, Rows
from service.client.notebook import MOST_POINTS, curve, number, table
from tests.unit.client.answering import JOB, client

HOSTILE = "<script>alert(1)</script>\"'&"
EPOCHS = [{"epoch": at, "train_loss": 1 / at, "val_loss": 2 / at, "at": "2026-11-25T12:00:00Z"} for at in range(1, 5)]


def page(html: str) -> ET.Element:
    """The HTML as a tree; raises where a tag is not closed or text was not escaped."""
    return ET.fromstring(f"<body>{html}</body>")  # noqa: S314  # made by ourselves


def shown(html: str) -> str:
    """Its text, without the titles that only a pointer finds."""
    tree = page(html)
    for parent in tree.iter():
        for title in parent.findall("title"):
            parent.remove(title)
    return " ".join(" ".join(tree.itertext()).split())


def card(rows: Any = EPOCHS, **facts: Any) -> str:
    """What a notebook shows of a job whose service answers with these."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"data": rows} if request.url.path.endswith("/metrics") else JOB | facts)

    with client(answer) as trainyard:
        return Job(trainyard, JOB)._repr_html_()


def places(html: str) -> list[list[tuple[float, float]]]:
    """The corners of each curve."""
    lines = re.findall(r'<polyline points="([^"]*)"', html)
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]  # type: ignore[misc]  # pairs


def test_a_running_job_is_shown_as_it_is_now() -> None:
    """State, phase, name, progress and what is left are heard anew; the latest metrics stand below the curve."""
    html = card(progress={"epoch": 2, "epochs": 4, "percent": 50, "eta_seconds": 600}, metrics={"val_loss": 0.625, "weird": 12345.6})

    text = shown(html)
    assert "running · training" in text
    assert "first job_1 epoch 2 of 4 · 50 % · 10 min left" in text
    assert text.endswith("val_loss 0.625 weird 12,346 /optimizer/lr is large Try 0.001.")
    assert page(html).find(".//*[@role='progressbar']").get("aria-valuenow") == "50"  # type: ignore[union-attr]  # there is one


def test_a_failed_job_shows_why() -> None:
    """The message and what would help."""
    text = shown(
        card(state="failed", phase=None, warnings=[], error={"code": "bad_data", "message": "No MNIST.", "hint": "Set the folder."})
    )

    assert text.startswith("failed first")
    assert text.endswith("No MNIST. Set the folder.")


@pytest.mark.parametrize("where", ["name", "id", "state", "phase", "reason"])
def test_nothing_is_markup(where: str) -> None:
    """Whatever a name or message holds is text: the page has no script, no handler, no address of elsewhere."""
    rows = [{"epoch": 1, "train_loss": 0.5, HOSTILE: HOSTILE}]
    told = {"metrics": {HOSTILE: 1.0}, "warnings": [{"pointer": HOSTILE, "code": "x", "detail": HOSTILE, "suggestion": HOSTILE}]}
    made = Job(
        client(lambda _: httpx2.Response(200, json={"data": rows})), JOB | told | {"state": "succeeded", "phase": None} | {where: HOSTILE}
    )
    if where == "state":
        made._client._http = httpx2.Client(
            base_url="http://trainyard.test",
            transport=httpx2.MockTransport(
                lambda request: httpx2.Response(200, json={"data": rows} if "metrics" in str(request.url) else dict(made))
            ),
        )

    for html in (made._repr_html_(), Rows(rows)._repr_html_()):
        tree = page(html)
        tags = {element.tag for element in tree.iter()}
        names = {name for element in tree.iter() for name in element.attrib}
        assert not tags & {"script", "style", "link", "img", "iframe", "a"}
        assert not [name for name in names if name.startswith("on") or name in ("href", "src")]
        assert HOSTILE in "".join(tree.itertext())


def test_a_service_that_is_away_hides_nothing() -> None:
    """What was last heard stays on show, with a note that says so."""

    def refused(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(401, json={"detail": "The key is not known."})

    text = shown(Job(client(refused), JOB)._repr_html_())

    assert "running · training first job_1 epoch 1 of 4" in text
    assert text.endswith("As last heard The key is not known.")


def test_the_curve_is_what_was_measured() -> None:
    """Train and validation by epoch: later is further right, less is lower; names, ends and hovers carry the numbers."""
    html = curve(EPOCHS)

    train, validation = places(html)
    assert [x for x, _ in train] == sorted(x for x, _ in train)
    assert [y for _, y in train] == sorted(y for _, y in train)
    assert all(below > above for (_, below), (_, above) in zip(train, validation, strict=True))
    assert {x for x, _ in train} == {x for x, _ in validation}
    assert "loss train 0.25 validation 0.5" in shown(html)
    assert "<title>epoch 2: validation loss 1</title>" in html
    assert 'aria-label="loss by epoch; at the end: train 0.25, validation 0.5"' in html


def test_a_loss_over_many_scales_has_a_logarithmic_axis() -> None:
    """Equal factors are equal distances, and the ticks are powers of ten."""
    html = curve([{"epoch": at, "train_loss": 10.0**-at} for at in range(4)])

    heights = [y for _, y in places(html)[0]]
    assert [round(later - earlier, 0) for earlier, later in pairwise(heights)] == [round(heights[1] - heights[0], 0)] * 3
    assert "0.001 0.01 0.1 1" in shown(html)


@pytest.mark.parametrize(
    "rows",
    [
        [{"epoch": 1, "train_loss": 0.5}],
        [{"epoch": at, "train_loss": 0.5} for at in range(3)],
        [{"epoch": 1, "train_loss": 0.0}, {"epoch": 2, "train_loss": 1e300}],
        [{"epoch": 1, "train_loss": -3.0}, {"epoch": 2, "train_loss": 5e-324}],
        [{"epoch": 1, "train_loss": 1e-300}, {"epoch": 2, "train_loss": 1e300}],
        [{"train_loss": 1.0, "val_loss": None}, {"train_loss": math.inf}, {"train_loss": math.nan}, {"train_loss": 2.0}],
        [{"epoch": at, "train_loss": 1.0 / at, "val_loss": 1.5} for at in range(1, 30_000)],
    ],
)
def test_every_curve_stays_on_its_page(rows: list[dict[str, Any]]) -> None:
    """One point, none that differ, huge and odd numbers, gaps, and many: all places are on the page, and few."""
    html = curve(rows)

    page(html)
    points = [point for line in places(html) for point in line]
    assert points
    assert all(0 <= x <= 560 and 0 <= y <= 190 for x, y in points)
    assert len(points) <= 2 * (MOST_POINTS + 1)
    assert len(html) < 60_000
    assert html.count('text-anchor="end"') < 12


def test_without_a_loss_there_is_no_curve() -> None:
    """A job that has not trained shows none."""
    assert curve([]) == curve([{"epoch": 1, "train_loss": math.nan}]) == ""


def test_rows_are_a_table() -> None:
    """A column for each name but the time; many rows show the first, the last, and how many lie between."""
    few, many = table(EPOCHS), table([{"epoch": at, "loss": at / 7} for at in range(1, 101)])

    assert [cell.text for cell in page(few).iter("th")] == ["epoch", "train_loss", "val_loss"]
    assert [cell.text for cell in page(few).iter("td")][:3] == ["1", "1", "2"]
    assert [row[0].text for row in page(many).findall(".//tbody/tr")] == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "… 88 more …",
        *map(str, range(95, 101)),
    ]
    assert shown(table([])) == "no rows yet"


@pytest.mark.parametrize(
    ("value", "said"), [(0.123456, "0.1235"), (12, "12"), (1234567, "1,234,567"), (98765.4, "98,765"), (math.nan, "nan"), (True, "True")]
)
def test_numbers_are_short(value: Any, said: str) -> None:
    """Four digits of what is small, groups of what is large."""
    assert number(value) == said

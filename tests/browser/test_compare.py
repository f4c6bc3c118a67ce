"""Runs side by side, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from service.client.sdk import Client
from tests.browser.conftest import faults_for_everyone

LAYERS: list[Any] = ["Flatten", {"type": "Linear", "out_features": 16}, "ReLU", {"type": "Linear", "out_features": 10}]
SMALL: dict[str, Any] = {
    "dataset": {"type": "Digits", "limit": 300, "validation_split": 0.2},
    "model": {"type": "Sequential", "layers": LAYERS},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "Adam", "lr": 0.01},
    "epochs": 4,
}
DEEPER = {"type": "Sequential", "layers": [*LAYERS[:3], {"type": "Dropout", "p": 0.25}, LAYERS[3]]}


@pytest.fixture(scope="module")
def pair(client: Client) -> list[str]:
    """Two jobs that have succeeded: the second has one layer more and learns hardly anything."""
    slow = {**SMALL, "name": "slow with dropout", "model": DEEPER, "optimizer": {"type": "Adam", "lr": 1e-6}}
    ids = [client.submit(each)["id"] for each in ({**SMALL, "name": "quick"}, slow)]
    assert [client.wait(job_id)["state"] for job_id in ids] == ["succeeded", "succeeded"]
    return ids


def address(ids: list[str]) -> str:
    return "/compare?" + "&".join(f"job={job_id}" for job_id in ids)


def test_runs_are_chosen_from_the_newest_jobs(page: Page, pair: list[str]) -> None:
    page.goto("/compare")
    for job_id in pair:
        page.locator(f"input[value={job_id}]").check()
    assert not faults_for_everyone(page)

    page.get_by_role("button", name="Compare the chosen").click()

    expect(page.locator("#runs li")).to_have_count(2)


def test_the_table_marks_the_best_of_each_row_by_what_is_better(page: Page, client: Client, pair: list[str]) -> None:
    """Less is better for losses, more for accuracies."""
    page.goto(address(pair))
    quick, slow = (client.get(job_id)["metrics"] for job_id in pair)
    assert quick["val_loss"] < slow["val_loss"]
    assert quick["val_accuracy"] > slow["val_accuracy"]

    for name in ("val_loss", "val_accuracy"):
        cells = page.locator("#tables tr", has=page.get_by_role("rowheader", name=name, exact=True)).locator("td")
        expect(cells.nth(0)).to_have_class("best")
        expect(cells.nth(1)).not_to_have_class("best")
    parameters = page.locator("#tables tr", has=page.get_by_role("rowheader", name="Parameters")).locator("td")
    expect(parameters).to_have_text(["1,210", "1,210"])
    assert not faults_for_everyone(page)


def test_the_specs_show_only_what_differs_and_one_layer_more_is_one_row(page: Page, pair: list[str]) -> None:
    page.goto(address(pair))

    rows = page.locator("#specs tbody tr")

    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("/model/layers/3")
    expect(rows.nth(0).locator("td")).to_have_text(["not there", "Dropout(p=0.25)"])
    expect(rows.nth(1)).to_contain_text("/optimizer/lr")


def test_each_metric_is_one_figure_with_a_line_for_each_run_and_split(page: Page, pair: list[str]) -> None:
    page.goto(address(pair))
    loss = page.locator(".chart", has=page.locator("figcaption", has_text="loss"))
    labels = loss.locator(".u-series .u-label")

    expect(labels).to_have_text(["epoch", "quick train", "quick val", "slow with dropout train", "slow with dropout val"])
    loss.locator("summary").click()
    expect(loss.locator("details tbody tr")).to_have_count(SMALL["epochs"])

    page.locator("#groups label", has_text="accuracy").click()
    expect(page.locator(".chart figcaption", has_text="accuracy")).to_have_count(0)
    page.locator("#groups label", has_text="lr").click()
    expect(page.locator(".chart figcaption", has_text="lr")).to_have_count(1)


def test_a_run_is_switched_off_by_its_box_or_the_legend_in_every_figure(page: Page, pair: list[str]) -> None:
    page.goto(address(pair))
    off = page.locator(".u-series.u-off")
    expect(page.locator(".chart")).to_have_count(2)
    box = page.locator(f"[data-run={pair[0]}] [data-shown]")

    box.uncheck()
    expect(off).to_have_count(4)

    page.locator(".u-series", has_text="quick train").first.locator("th").click()
    expect(box).to_be_checked()
    expect(off).to_have_count(0)


def test_a_run_that_is_taken_off_leaves_the_others_their_colours(page: Page, pair: list[str]) -> None:
    page.goto(address(pair))

    page.get_by_label("Take quick off this page").click()

    expect(page.locator("#runs li")).to_have_count(1)
    expect(page.locator("#runs li")).to_have_class("run-1")
    expect(page.locator("#specs")).to_contain_text("Add another run")

    page.get_by_text("Add a run", exact=True).click()
    page.locator("#choices a", has_text="quick").first.click()

    expect(page.locator("#runs li").nth(0)).to_have_class("run-0")
    expect(page.locator("#runs li")).to_have_count(2)


@pytest.fixture
def pending(client: Client) -> Iterator[tuple[str, str]]:
    """A job that trains for very long, and one that waits for it to end."""
    first, second = (client.submit({**SMALL, "name": name, "epochs": 20000})["id"] for name in ("before it", "long"))
    client.get(first, wait=60, leaving="queued")
    yield first, second
    for job_id in (first, second):
        client.cancel(job_id)


def test_curves_and_table_follow_a_run_that_trains(page: Page, client: Client, pair: list[str], pending: tuple[str, str]) -> None:
    """One that begins only after the page was opened: a table that is open then stays open."""
    before_it, long = pending
    page.goto(address([pair[0], long]))
    loss = page.locator(".chart", has=page.locator("figcaption", has_text="loss"))
    loss.locator("summary").click()
    expect(page.locator(f"[data-state={long}]")).to_contain_text("queued")
    client.cancel(before_it)
    newest = "Number(document.querySelector('.chart details[open] tbody tr:last-child td')?.textContent ?? 0)"

    page.wait_for_function(f"() => {newest} > {SMALL['epochs']} + 3")
    before = page.evaluate(newest)
    page.wait_for_function(f"() => {newest} > {before}")
    expect(page.locator(f"[data-state={long}]")).to_contain_text("running")
    client.cancel(long)

    expect(page.locator(f"[data-state={long}]")).to_contain_text("cancelled")


def test_a_job_that_is_gone_is_said_to_be(page: Page, pair: list[str]) -> None:
    page.goto(address([pair[0], "job_gone"]))

    expect(page.locator(".notice")).to_contain_text("There is no job job_gone")
    expect(page.locator("#runs li")).to_have_count(1)


def test_runs_are_ordered_by_a_metric_and_keep_their_colours(page: Page, pair: list[str]) -> None:
    """The best one first, in the curves, the table and the specs."""
    page.goto(address(pair[::-1]))
    expect(page.locator("#tables thead a").first).to_have_text("slow with dropout")

    page.get_by_role("link", name="val_accuracy").click()

    expect(page.locator("#tables thead a").first).to_have_text("quick")
    expect(page.locator("#specs thead a").first).to_have_text("quick")
    expect(page.locator("#runs li").first).to_have_class("run-1")
    expect(page.locator("#specs")).to_contain_text("the best by val_accuracy")

"""The list of jobs and the page of one, driven as a person does."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from service.client.sdk import Client
from tests.browser.conftest import faults_for_everyone

SMALL: dict[str, Any] = {
    "dataset": {"type": "Digits", "limit": 300, "validation_split": 0.2},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "Adam", "lr": 0.01},
    "epochs": 4,
    "checkpoint": {"monitor": "val_accuracy"},
}


@pytest.fixture(scope="module")
def done(client: Client) -> str:
    """A job that has succeeded."""
    job = client.wait(client.submit({**SMALL, "name": "seen in a browser", "labels": {"course": "intro"}})["id"])
    assert job["state"] == "succeeded"
    return str(job["id"])


def test_the_list_shows_each_job_with_its_state_score_and_curve(page: Page, done: str) -> None:
    page.goto("/")

    row = page.locator(f"#row-{done}")
    expect(row).to_contain_text("seen in a browser")
    expect(row).to_contain_text("succeeded")
    expect(row).to_contain_text("val_accuracy")
    expect(row.locator(".spark svg")).to_have_count(1)
    assert not faults_for_everyone(page)


def test_a_job_that_is_submitted_elsewhere_appears_without_reload(page: Page, client: Client, done: str) -> None:
    page.goto("/")
    expect(page.locator(f"#row-{done}")).to_be_visible()

    later = client.submit({**SMALL, "name": "came later"})["id"]

    expect(page.locator(f"#row-{later}")).to_contain_text("came later")


def test_several_jobs_are_cancelled_and_deleted_at_once(page: Page, client: Client) -> None:
    ids = [client.submit({**SMALL, "name": f"not wanted {at}", "epochs": 5000})["id"] for at in range(2)]
    page.goto("/")
    for job_id in ids:
        page.locator(f"#pick-{job_id}").check()

    page.locator("[data-bulk=cancel]").click()
    page.locator("#sure-yes").click()

    for job_id in ids:
        expect(page.locator(f"#row-{job_id}")).to_contain_text("cancelled")
        page.locator(f"#pick-{job_id}").check()
    page.locator("[data-bulk=delete]").click()
    page.locator("#sure-yes").click()
    for job_id in ids:
        expect(page.locator(f"#row-{job_id}")).to_have_count(0)
    assert not {job["id"] for job in client.page()["data"]} & set(ids)


def test_a_curve_grows_while_the_job_trains_and_the_button_stops_it(page: Page, client: Client) -> None:
    job_id = client.submit({**SMALL, "name": "long", "epochs": 20000})["id"]
    page.goto(f"/jobs/{job_id}")
    points = "Number(document.querySelector('.chart details tbody tr:last-child td')?.textContent ?? 0)"
    page.locator(".chart summary").first.click()

    page.wait_for_function(f"() => {points} > 3")
    before = page.evaluate(points)
    page.wait_for_function(f"() => {points} > {before} + 5")
    page.get_by_role("button", name="Cancel").click()
    page.locator("#sure-yes").click()

    expect(page.locator("#head h1")).to_contain_text("cancelled")
    assert client.get(job_id)["state"] == "cancelled"


def test_the_page_of_an_ended_job_shows_all_of_it(page: Page, done: str) -> None:
    page.goto(f"/jobs/{done}")

    expect(page.locator(".chart")).not_to_have_count(0)
    for id, words in {
        "results": "Confusion matrix",
        "layers": "650",
        "log": "epoch 4",
        "files": "model.safetensors",
        "spec": "CrossEntropyLoss",
        "program": "DataLoader",
    }.items():
        page.locator(f"#{id}").scroll_into_view_if_needed()
        expect(page.locator(f"#{id} .body")).to_contain_text(words)
    assert not faults_for_everyone(page)


def test_the_model_is_downloaded_whole(page: Page, client: Client, done: str) -> None:
    page.goto(f"/jobs/{done}")
    page.locator("#files").scroll_into_view_if_needed()

    with page.expect_download() as started:
        page.get_by_role("link", name="model.safetensors").first.click()

    size = next(file["size"] for file in client.artifacts(done) if file["path"] == "model.safetensors")
    assert started.value.path().stat().st_size == size


@pytest.fixture(scope="module")
def good(client: Client) -> str:
    """A job whose model knows digits when it sees them."""
    layers = ["Flatten", {"type": "Linear", "out_features": 64}, "ReLU", {"type": "Linear", "out_features": 10}]
    model = {"type": "Sequential", "layers": layers}
    job = client.wait(client.submit({**SMALL, "dataset": {"type": "Digits", "validation_split": 0.1}, "model": model, "epochs": 25})["id"])
    assert job["metrics"]["test_accuracy"] > 0.93
    return str(job["id"])


def test_what_is_drawn_gets_its_class(page: Page, good: str) -> None:
    page.goto(f"/jobs/{good}")
    page.locator("#try").scroll_into_view_if_needed()
    box = page.locator("#draw").bounding_box()
    assert box
    ring = [(140, 40), (195, 80), (200, 190), (140, 240), (82, 190), (85, 80), (140, 40)]
    first, *rest = [(box["x"] + x * box["width"] / 280, box["y"] + y * box["height"] / 280) for x, y in ring]
    page.mouse.move(*first)
    page.mouse.down()
    for corner in rest:
        page.mouse.move(*corner, steps=4)
    page.mouse.up()

    page.locator("#ask-drawing").click()

    expect(page.locator("#said")).to_have_text("0")

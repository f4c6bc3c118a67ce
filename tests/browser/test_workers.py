"""Workers and queue in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, expect

from service.client.sdk import Client
from tests.browser.conftest import faults_for_everyone

ENDLESS: dict[str, Any] = {
    "dataset": {"type": "Digits", "limit": 300},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": "SGD",
    "epochs": 100_000,
}


@contextmanager
def submitted(client: Client, *names: str, **others: Any) -> Iterator[list[str]]:
    """Jobs that would not end by themselves."""
    ids = [client.submit({**ENDLESS, **others, "name": name})["id"] for name in names]
    try:
        yield ids
    finally:
        for job_id in ids:
            client.cancel(job_id)


def test_a_worker_shows_what_it_is_and_does_and_did_and_what_waits_for_it(page: Page, client: Client) -> None:
    """All of it without reload."""
    with submitted(client, "the first", "the second", "the third") as (first, second, third):
        page.goto("/workers")
        worker = page.locator(".worker")
        expect(worker).to_have_count(1)
        expect(worker).to_contain_text("1 of 1")
        expect(worker.locator("dl")).to_contain_text("torch")
        expect(worker).to_contain_text("last heard of")
        expect(worker.locator(".doing")).to_contain_text("the first")
        expect(worker.get_by_role("link", name="the first")).to_have_attribute("href", f"/jobs/{first}")
        expect(page.locator(f"#waits-{second} td").first).to_have_text("1")
        expect(page.locator(f"#waits-{third} td").first).to_have_text("2")
        assert not faults_for_everyone(page)

        client.cancel(first)

        expect(worker.locator(".doing")).to_contain_text("the second")
        expect(worker.locator(".past tr", has_text="the first").first).to_contain_text("cancelled")
        expect(page.locator(f"#waits-{second}")).to_have_count(0)
        expect(page.locator(f"#waits-{third} td").first).to_have_text("1")


def test_jobs_that_nobody_can_take_are_said_to_wait_for_a_worker(page: Page, client: Client) -> None:
    with submitted(client, "wants a gpu", resources={"device": "gpu"}) as (job_id,):
        page.goto("/workers")

        expect(page.locator("#queue .notice")).to_contain_text("No gpu worker lives")
        expect(page.locator(f"#waits-{job_id}")).to_contain_text("wants a gpu")
        expect(page.locator(f"#waits-{job_id}")).to_contain_text("not known yet")

"""The catalog in a real browser: searched as one types, opened, copied."""

from __future__ import annotations

import gzip
from urllib.request import Request, urlopen

from playwright.sync_api import BrowserContext, Page, expect

from service.client.sdk import Client
from tests.browser.conftest import expected, faults_for_everyone

LIMIT = 200_000
"""Bytes of a page as it is sent."""


def test_what_is_typed_narrows_the_list_at_once(page: Page) -> None:
    page.goto("/catalog")
    assert not faults_for_everyone(page)

    page.locator("#q").press_sequentially("conv transposed")

    expect(page.locator("details:visible")).to_have_count(3)
    expect(page.locator("#found")).to_have_text("3 found")
    expect(page.locator("section.kind:visible")).to_have_count(1)
    assert page.url.endswith("?q=conv+transposed")
    page.reload()
    expect(page.locator("details:visible")).to_have_count(3)

    page.locator("#q").fill("no such thing")
    expect(page.locator("#nothing")).to_be_visible()


def test_arguments_are_searched_too(page: Page) -> None:
    page.goto("/catalog?q=label_smoothing")

    expect(page.locator("details:visible summary b")).to_have_text(["CrossEntropyLoss"])


def test_an_entry_opens_to_its_arguments_and_its_snippet_is_copied(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/catalog")
    entry = page.locator("[data-entry='layers/Conv2d']")

    entry.locator("summary").click()

    row = entry.locator("tr", has=page.get_by_role("rowheader", name="padding", exact=True))
    expect(row).to_contain_text("int ≥ 0, or a list of 2, or same or valid")
    expect(entry.locator("tr", has=page.get_by_role("rowheader", name="out_channels"))).to_contain_text("needed")
    assert not faults_for_everyone(page)

    entry.get_by_role("button", name="Copy").click()
    expect(page.locator("#toasts")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").strip() == "- {type: Conv2d, out_channels: 32, kernel_size: 3}"


def test_each_entry_has_a_page_of_its_own(page: Page) -> None:
    page.goto("/catalog/optimizers/AdamW")

    expect(page.locator("h1")).to_have_text("AdamW")
    expect(page.get_by_role("table")).to_contain_text("weight_decay")
    assert not faults_for_everyone(page)


def test_one_that_is_not_there_is_said_with_what_was_meant(page: Page, wrong: list[str]) -> None:
    page.goto("/catalog/layers/Conv2D")

    expect(page.locator("main")).to_contain_text("Did you mean Conv2d?")
    expected(wrong, "404")


def test_the_page_is_small_as_it_is_sent(client: Client) -> None:
    with urlopen(Request(f"{client.url}/catalog", headers={"Accept-Encoding": "gzip"})) as answer:
        sent = answer.read()

    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(sent) < LIMIT
    assert b"AdaptiveAvgPool1d" in gzip.decompress(sent)

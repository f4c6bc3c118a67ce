"""A real Chromium before a real service. A page that logs an error, breaks the policy or asks another host fails its test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from service.client.sdk import Client
from tests.e2e.stack import Stack, running_stack
from tests.servers import S3Server

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
DATA = Path(__file__).parents[3] / "shared" / "data"
SERIOUS = {"serious", "critical"}
PATIENCE_MS = 30_000
"""A busy machine is slow; what never comes is found out later, that is all."""
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def service(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API and a worker for all of these tests: each makes jobs of its own."""
    settings = {"TRAINYARD_DATASETS_DIR": str(DATA)} if DATA.is_dir() else {}
    with running_stack(tmp_path_factory.mktemp("stack"), redis_url=valkey_url, s3=s3.environment(), **settings) as running:
        running.start_worker()
        yield running


@pytest.fixture(scope="session")
def client(service: Stack) -> Client:
    """The service as programs see it."""
    return service.client


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        if os.environ.get("TRAINYARD_NEEDS_BROWSER"):
            pytest.fail("Chromium is needed here and is not installed.")
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def wrong() -> list[str]:
    """What went wrong on the pages of a test so far."""
    return []


@pytest.fixture
def context(browser: Browser, service: Stack, wrong: list[str]) -> Iterator[BrowserContext]:
    """A browser's profile that has been nowhere. At its end nothing may have gone wrong on any of its pages."""
    context = browser.new_context(base_url=service.client.url, viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    home = urlsplit(service.client.url).netloc

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(f"console: {message.text}")

    def asked(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != home:
            wrong.append(f"another host: {request.url}")

    context.on("console", heard)
    context.on("weberror", lambda error: wrong.append(f"script: {error.error}"))
    context.on("request", asked)
    yield context
    context.close()
    assert not wrong


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page of it."""
    return context.new_page()


def faults_for_everyone(page: Page) -> list[str]:
    """What axe-core finds that is serious, for who cannot see, point or tell colours apart."""
    found = Axe().run(page)
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found.response["violations"] if each["impact"] in SERIOUS]


def expected(wrong: list[str], status: str) -> None:
    """Chromium logs every refusal as an error: these were provoked."""
    assert wrong
    assert all(status in each for each in wrong)
    wrong.clear()

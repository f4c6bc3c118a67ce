"""A service with a key, as a browser meets it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from service.api.sessions import COOKIE
from tests.browser.conftest import faults_for_everyone
from tests.e2e.stack import Stack, running_stack
from tests.servers import S3Server

KEY = "a-key-of-the-test"


@pytest.fixture(scope="module")
def locked(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API that wants a key; in a bucket of its own, for whoever finds keys in theirs wants one, too."""
    folder, bucket = tmp_path_factory.mktemp("locked"), s3.environment() | {"S3_BUCKET": "signing-in"}
    with running_stack(folder, redis_url=valkey_url.replace("/0", "/1"), s3=bucket, TRAINYARD_API_KEY=KEY) as running:
        yield running


@pytest.fixture
def http(locked: Stack) -> Iterator[httpx2.Client]:
    """Plain requests, without the key."""
    with httpx2.Client(base_url=locked.client.url, trust_env=False) as client:
        yield client


def test_the_door_is_before_every_page_and_leads_to_the_one_that_was_wanted(browser: Browser, locked: Stack) -> None:
    context = browser.new_context(base_url=locked.client.url)
    page = context.new_page()

    page.goto("/?state=failed")
    expect(page.get_by_label("API key")).to_be_focused()
    assert not faults_for_everyone(page)
    page.get_by_label("API key").fill("another")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("no key of this service")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()

    expect(page.locator("select[name=state]")).to_have_value("failed")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/")
    expect(page.get_by_label("API key")).to_be_visible()
    context.close()


def test_the_header_says_where_one_is_and_a_reader_is_offered_nothing_to_submit(browser: Browser, locked: Stack) -> None:
    """An admin of the installation may look at another project; whoever only reads sees no way to a new job."""
    shown = {KEY: "installation", locked.client.create_key("reader", role="read")["key"]: "reader"}
    for key, who in shown.items():
        context = browser.new_context(base_url=locked.client.url)
        page = context.new_page()
        page.goto("/")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()

        if who == "installation":
            expect(page.get_by_label("Project")).to_have_value("default")
        else:
            expect(page.locator(".who")).to_have_text("default")
        expect(page.get_by_role("link", name="New job")).to_have_count(1 if who == "installation" else 0)
        assert not faults_for_everyone(page)
        context.close()


def test_a_session_is_as_good_as_the_key_but_not_for_another_site(http: httpx2.Client) -> None:
    """SameSite keeps the cookie at home already; where a browser does not, what it says of the asking site decides, and the token of its own pages."""
    cookie = http.post("/sign-in", data={"key": KEY, "next": "/"}).headers["set-cookie"]
    told = {"Cookie": cookie.split(";")[0]}
    token = re.search(r'<meta name="csrf-token" content="(\w+)">', http.get("/", headers=told).text)
    assert token is not None
    own = told | {"X-CSRF-Token": token[1]}

    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert http.get("/v1/jobs", headers=told).status_code == 200
    assert http.post("/v1/jobs/job_none/cancel", headers=own | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert http.post("/v1/jobs/job_none/cancel", headers=told | {"Sec-Fetch-Site": "same-origin"}).status_code == 403
    assert http.post("/v1/jobs/job_none/cancel", headers=own | {"Sec-Fetch-Site": "same-origin"}).status_code == 404


def test_another_site_neither_signs_in_nor_out(http: httpx2.Client) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    told = {"Cookie": http.post("/sign-in", data={"key": KEY}).headers["set-cookie"].split(";")[0]}

    assert http.post("/sign-in", data={"key": KEY}, headers=elsewhere).status_code == 403
    assert http.post("/sign-out", headers=told).status_code == 403
    assert http.post("/sign-out", data={"csrf_token": "0" * 64}, headers=told).status_code == 403


@pytest.mark.parametrize("cookie", ["", "1.2", "99999999999.00", "x.y", "99999999999.\u00e9", "9" * 400])
def test_a_made_up_session_opens_nothing(http: httpx2.Client, cookie: str) -> None:
    headers = {"Cookie": f"{COOKIE}={cookie}".encode("latin-1")}

    assert http.get("/v1/jobs", headers=headers).status_code == 401
    assert http.get("/", headers=headers, follow_redirects=False).headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("elsewhere", ["https://example.org", "//example.org", "/\\example.org", "javascript:alert(1)"])
def test_the_door_leads_to_no_other_host(http: httpx2.Client, elsewhere: str) -> None:
    answer = http.post("/sign-in", data={"key": KEY, "next": elsewhere}, follow_redirects=False)

    assert answer.headers["location"] == "/"


def test_every_page_lets_nothing_load_from_elsewhere(http: httpx2.Client) -> None:
    answer = http.get("/sign-in")

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy

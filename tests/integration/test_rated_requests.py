"""How requests are counted: whose rate each takes of, what answers say of it, and what keeps a guesser of keys from trying on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from service.access.keys import new_secret
from service.access.rates import Policy
from service.adapters import memory
from service.api.app import create_app
from service.api.keyring import Keyring
from service.api.rating import Rating
from service.main import rating_of
from service.settings import ApiSettings, SettingsFault
from tests.worlds import NOW, World, application, furnished

FEW = Policy(name="key", per_second=0.01, burst=5)
"""Five, and the next one after 100 s."""
OWN = "chosen-by-a-person"
"""As the environment may give it: a key that could be guessed."""


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """Its routes are made once."""
    return application()


@pytest.fixture
def world(app: FastAPI) -> World:
    """Each key may ask five times, and an address be wrong five times."""
    world = furnished(app, memory.stores(now=lambda: datetime.now(tz=UTC)))
    app.state.rating = Rating(world.stores.rates, keys=FEW, wrong=Policy(name="wrong-keys", per_second=0.01, burst=5))
    return world


@pytest.fixture
def ask(world: World) -> Iterator[Callable[..., httpx2.Response]]:
    """Asks as a visitor; one loop for all of a test, as in a process."""
    with asyncio.Runner() as runner:
        yield lambda *asked, **options: runner.run(world.ask(*asked, **options))


Ask = Callable[..., httpx2.Response]


def statuses(ask: Ask, times: int, *asked: str, **options: Any) -> Sequence[int]:
    return [ask(*asked, **options).status_code for _ in range(times)]


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_an_answer_says_what_is_left_and_a_refusal_when_to_come_again(ask: Ask) -> None:
    """The fields of the IETF's draft, on a 404 as well as on a 200; a 429 is a problem with the cure."""
    told = [ask("read", "GET", path) for path in ("/v1/me", "/v1/jobs/none", "/v1/me", "/v1/me", "/v1/me", "/v1/me")]

    assert [answer.status_code for answer in told] == [200, 404, 200, 200, 200, 429]
    assert {answer.headers["RateLimit-Policy"] for answer in told} == {'"key";q=5;w=500'}
    assert [answer.headers["RateLimit"] for answer in told] == [
        '"key";r=4;t=100',
        '"key";r=3;t=200',
        '"key";r=2;t=300',
        '"key";r=1;t=400',
        '"key";r=0;t=500',
        '"key";r=0;t=100',
    ]
    refused = told[-1]
    assert refused.headers["Retry-After"] == "100"
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (refused.json()["type"], refused.json()["status"]) == ("/problems/rate-limited", 429)
    assert refused.json()["detail"].startswith("This key may make 0.01 requests a second, and 5 at once. Ask again in 100 s; ")


def test_each_key_has_its_own_rate_and_a_session_has_its_keys(ask: Ask) -> None:
    """`session` stands for the key `submit`."""
    assert statuses(ask, 6, "submit", "GET", "/v1/me") == [200] * 5 + [429]
    assert statuses(ask, 1, "session", "GET", "/v1/me") == [429]
    assert statuses(ask, 1, "read", "GET", "/v1/me") == [200]


@pytest.mark.parametrize(
    ("visitor", "method", "path", "options", "status"),
    [
        ("read", "POST", "/v1/jobs", {"json": {}}, 403),
        ("submit", "POST", "/v1/jobs", {"json": {}}, 422),
        ("read", "GET", "/v1/jobs", {"headers": {"Trainyard-Project": "nowhere"}}, 404),
        ("read", "GET", "/v1/jobs?limit=0", {}, 422),
        ("read", "GET", "/v1/jobs/{queued}?wait=0.01", {}, 200),
        ("read", "GET", "/v1/jobs/{done}/events", {"headers": {"Accept": "text/event-stream"}}, 200),
    ],
)
def test_whatever_is_asked_counts_once(visitor: str, method: str, path: str, options: Any, status: int, ask: Ask) -> None:
    """What is refused, too; a stream or a long poll is one request, however long."""
    assert statuses(ask, 6, visitor, method, path, **options) == [status] * 5 + [429]


def test_what_needs_no_key_is_not_counted_and_monitors_are_not_refused(ask: Ask) -> None:
    statuses(ask, 6, "read", "GET", "/v1/me")
    statuses(ask, 6, "installation", "GET", "/v1/me")

    for path in ("/healthz", "/readyz", "/version", "/openapi.json", "/sign-in", "/static/theme.js"):
        answer = ask("read", "GET", path)
        assert (path, answer.status_code != 429, "RateLimit" in answer.headers) == (path, True, False)
    assert statuses(ask, 8, "installation", "GET", "/metrics") == [200] * 8
    assert statuses(ask, 1, "installation", "GET", "/v1/me") == [429]


def test_a_page_that_is_refused_is_a_page(ask: Ask) -> None:
    """For a browser; with the time to wait."""
    pages = [ask("session", "GET", "/") for _ in range(6)]

    assert [page.status_code for page in pages] == [200] * 5 + [429]
    assert pages[-1].headers["Content-Type"].startswith("text/html")
    assert pages[-1].headers["Retry-After"] == "100"
    assert "Ask again in 100 s" in pages[-1].text


def test_refusals_are_noted_and_counted(ask: Ask, world: World) -> None:
    """One entry of the audit log for those that are alike: a flood does not fill it."""
    statuses(ask, 30, "submit", "POST", "/v1/jobs/{queued}/pause")
    world.app.state.recorder.flush()

    noted = [entry for entry in world.stores.audit.before(None, limit=100) if entry.outcome == 429]
    assert [(entry.action, entry.project) for entry in noted] == [("POST /v1/jobs/{job_id}/pause", "red")]


def test_an_open_service_counts_nobody(ask: Ask, world: World) -> None:
    world.app.state.keyring = Keyring(memory.stores(now=lambda: NOW).access)

    told = [ask("nobody", "GET", "/v1/me") for _ in range(10)]

    assert {answer.status_code for answer in told} == {200}
    assert not any("RateLimit" in answer.headers for answer in told)


@pytest.mark.parametrize("wrong", ["guesser", "stranger", "mistyped"])
def test_wrong_keys_from_one_address_are_counted(wrong: str, ask: Ask) -> None:
    """401 as often as a person is wrong; then 429. Keys that were made come in from there all the same: nobody guesses those."""
    told = [ask(wrong, "GET", "/v1/me") for _ in range(7)]

    assert [answer.status_code for answer in told] == [401] * 5 + [429] * 2
    assert told[-1].headers["RateLimit"] == '"wrong-keys";r=0;t=100'
    assert told[-1].headers["Retry-After"] == "100"
    assert told[-1].json()["type"] == "/problems/rate-limited"
    assert statuses(ask, 1, "read", "GET", "/v1/me") == [200]


def test_a_key_that_could_be_guessed_is_not_looked_at_once_too_many_were_wrong(ask: Ask, world: World) -> None:
    """The right one either: whoever tries on learns nothing."""
    world.app.state.keyring = Keyring(world.stores.access, api_key=OWN)
    assert ask("nobody", "GET", "/v1/me", headers=bearer(OWN)).status_code == 200

    tried = [ask("nobody", "GET", "/v1/me", headers=bearer(f"guess-{number}")).status_code for number in range(5)]

    assert tried == [401] * 5
    assert ask("nobody", "GET", "/v1/me", headers=bearer(OWN)).status_code == 429
    assert statuses(ask, 1, "read", "GET", "/v1/me") == [200]


def test_the_form_to_sign_in_counts_wrong_keys_too(ask: Ask) -> None:
    """And says so on its page."""
    told = [ask("nobody", "POST", "/sign-in", data={"key": f"guess-{number}"}) for number in range(7)]

    assert [page.status_code for page in told] == [401] * 5 + [429] * 2
    assert told[-1].headers["Retry-After"] == "100"
    assert "Too many keys that are none came from this address" in told[-1].text


def test_an_old_cookie_and_a_revoked_key_are_no_guesses(ask: Ask) -> None:
    """A page that was left open, a script with a key that has ended: they ask for ever, and guess nothing."""
    assert statuses(ask, 20, "nobody", "GET", "/v1/me", headers={"Cookie": "trainyard_session=a.b.c.1.x"}) == [401] * 20
    assert statuses(ask, 20, "revoked", "GET", "/v1/me") == [401] * 20
    assert ask("nobody", "GET", "/v1/me", headers=bearer(new_secret("f" * 12))).status_code == 401


@pytest.mark.parametrize(
    ("environment", "key", "nobody"),
    [
        ({}, (1000, 2000), None),
        ({"TRAINYARD_RATE_LIMIT": "0"}, None, None),
        ({"TRAINYARD_RATE_LIMIT": "0.3"}, (0.3, 1), (0.3, 1)),
        ({"TRAINYARD_RATE_LIMIT": "20", "TRAINYARD_RATE_BURST": "7"}, (20, 7), (20, 7)),
        ({"TRAINYARD_RATE_BURST": "5000"}, (1000, 5000), None),
    ],
)
def test_settings_say_how_often(
    environment: dict[str, str], key: tuple[float, int] | None, nobody: tuple[float, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests a second, and at once; who comes without a key has no limit unless one is set."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    rating = rating_of(ApiSettings.read(), memory.stores(now=lambda: NOW))

    counted = [asyncio.run(rating.count(each)) for each in ("k", None)]

    assert [each and (each.policy.per_second, each.policy.burst) for each in counted] == [key, nobody]


@pytest.mark.parametrize(
    ("name", "value"),
    [("TRAINYARD_RATE_LIMIT", "0.0001"), ("TRAINYARD_RATE_LIMIT", "-1"), ("TRAINYARD_RATE_LIMIT", "1e9"), ("TRAINYARD_RATE_BURST", "0")],
)
def test_a_rate_that_cannot_be_is_refused_at_the_start(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsFault, match=name):
        ApiSettings.read()


def test_nothing_is_limited_where_nothing_is_said(world: World) -> None:
    """An application that is made without rates."""
    nothing: Any = None
    made = create_app(
        services=nothing,
        changes=nothing,
        checks={},
        keyring=nothing,
        access=nothing,
        recorder=nothing,
        stamps=nothing,
        monitor=world.stores.monitor,
        preflight_load=nothing,
    )

    assert asyncio.run(made.state.rating.count("k")) is None
    assert asyncio.run(made.state.rating.count_wrong("192.0.2.1")) is None

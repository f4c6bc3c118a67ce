"""The commands about who may what, against answers made up here."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from service.client.cli.keys import moment
from service.client.errors import BadRequest

Trainyard = Callable[..., int]
Capture = pytest.CaptureFixture[str]
NOW = datetime(2026, 11, 26, tzinfo=UTC)
KEY: dict[str, Any] = {
    "id": "3f2a9c01b7d4", "name": "alice", "project": "red", "role": "submit", "state": "live", "created_at": "2026-11-26T00:00:00Z",
    "created_by": "000000000001", "expires_at": None, "revoked_at": None, "last_used_at": "2026-11-26T10:11:12Z", "old_secret_until": None,
}  # fmt: skip


class Service:
    """Answers by method and path, and remembers what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self._answers, self.asked = answers, list[httpx2.Request]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        body = self._answers.get(request.method)
        return httpx2.Response(204) if body is None else httpx2.Response(200, json=body)


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("2w", NOW + timedelta(weeks=2)),
        ("0m", NOW),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T10:00:00+02:00", datetime(2027, 1, 31, 8, tzinfo=UTC)),
        ("never", None),
        (None, None),
    ],
)
def test_ends_in_words(words: str | None, end: datetime | None):
    assert moment(words, now=NOW) == end


@pytest.mark.parametrize("words", ["soon", "90", "d", "-1d", "90 days", "2027-13-01"])
def test_other_words_are_no_end(words: str):
    with pytest.raises(BadRequest, match="Say for example 90d"):
        moment(words, now=NOW)


def test_a_secret_goes_to_stdout_alone(trainyard: Trainyard, capsys: Capture):
    """So that a program can take it; what to do with it is said beside."""
    service = Service(POST=KEY | {"key": "trainyard_secret"})

    assert trainyard("keys", "create", "alice", "--project", "red", "--role", "read", answer=service) == 0

    shown = capsys.readouterr()
    assert shown.out == "trainyard_secret\n"
    assert "not told again" in shown.err
    assert "trainyard_secret" not in shown.err
    assert json.loads(service.asked[0].content) == {"name": "alice", "role": "read", "project": "red", "expires_at": None}


def test_an_admin_of_the_installation_is_asked_for_by_a_flag(trainyard: Trainyard, capsys: Capture):
    service = Service(POST=KEY | {"key": "x"})

    assert trainyard("keys", "create", "root", "--everywhere", answer=service) == 0
    assert trainyard("keys", "create", "root", "--everywhere", "--project", "red", answer=service) == 2

    assert [(json.loads(each.content)["project"], json.loads(each.content)["role"]) for each in service.asked] == [("*", "admin")]
    assert "exclude each other" in capsys.readouterr().err


def test_keys_are_listed_and_shown(trainyard: Trainyard, capsys: Capture):
    assert trainyard("keys", "ls", "--project", "red", answer=(listing := Service(GET={"data": [KEY]}))) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert trainyard("keys", "show", KEY["id"], "--json", answer=Service(GET=KEY)) == 0

    assert row.split() == ["3f2a9c01b7d4", "alice", "red", "submit", "live", "-", "2026-11-26", "10:11"]
    assert listing.asked[0].url.query == b"project=red"
    assert json.loads(capsys.readouterr().out) == KEY


def test_without_keys_the_first_step_is_told(trainyard: Trainyard, capsys: Capture):
    assert trainyard("keys", "ls", answer=Service(GET={"data": []})) == 0

    assert "trainyard keys create NAME --everywhere" in capsys.readouterr().err


def test_a_change_says_only_what_changes(trainyard: Trainyard):
    service = Service(PATCH=KEY)

    assert trainyard("keys", "change", KEY["id"], "--name", "bob", answer=service) == 0
    assert trainyard("keys", "change", KEY["id"], "--expires", "never", answer=service) == 0

    assert [json.loads(each.content) for each in service.asked] == [{"name": "bob"}, {"expires_at": None}]


@pytest.mark.parametrize(("overlap", "seconds"), [("0m", 0), ("30m", 1800), ("1d", 86_400)])
def test_a_rotation_says_how_long_the_old_secret_lives(trainyard: Trainyard, capsys: Capture, overlap: str, seconds: int):
    service = Service(POST=KEY | {"key": "new"})

    assert trainyard("keys", "rotate", KEY["id"], "--overlap", overlap, answer=service) == 0

    assert capsys.readouterr().out == "new\n"
    assert service.asked[0].url.query == f"overlap_seconds={seconds}".encode()


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["keys", "revoke", KEY["id"]], f"/v1/keys/{KEY['id']}"),
        (["projects", "rm", "red"], "/v1/projects/red"),
    ],
)
def test_what_goes_for_good(trainyard: Trainyard, capsys: Capture, words: list[str], path: str):
    service = Service()

    assert trainyard(*words, "--yes", answer=service) == 0

    assert [(each.method, each.url.path) for each in service.asked] == [("DELETE", path)]
    assert words[-1] in capsys.readouterr().out


def test_projects(trainyard: Trainyard, capsys: Capture):
    red = {"name": "red", "description": "A team", "created_at": "2026-11-26T00:00:00Z"}

    assert trainyard("projects", "create", "red", "--description", "A team", answer=(made := Service(POST=red))) == 0
    assert trainyard("projects", "ls", answer=Service(GET={"data": [red]})) == 0
    assert trainyard("projects", "show", "red", "--json", answer=Service(GET=red)) == 0

    assert json.loads(made.asked[0].content) == {"name": "red", "description": "A team"}
    created, _, row, shown = capsys.readouterr().out.splitlines()
    assert (created, row.split(maxsplit=2)) == ("red created", ["red", "2026-11-26", "A team"])
    assert json.loads(shown) == red


@pytest.mark.parametrize(
    ("me", "line"),
    [
        ({"key_id": "3f", "name": "alice", "everywhere": False}, "alice (3f), submit in project red"),
        ({"key_id": "3f", "name": "root", "everywhere": True}, "root (3f), submit in project red, of the installation"),
        (
            {"key_id": None, "name": None, "everywhere": True},
            "anybody: the service has no keys, submit in project red, of the installation",
        ),
    ],
)
def test_whoami(trainyard: Trainyard, capsys: Capture, me: dict[str, Any], line: str):
    assert trainyard("whoami", answer=Service(GET=me | {"role": "submit", "project": "red", "expires_at": None})) == 0

    assert capsys.readouterr().out.strip() == line


def test_a_project_is_named_before_the_command_or_by_the_environment(trainyard: Trainyard, monkeypatch: pytest.MonkeyPatch):
    service = Service(GET={"data": []})

    trainyard("--project", "red", "datasets", "ls", answer=service)
    monkeypatch.setenv("TRAINYARD_PROJECT", "blue")
    trainyard("datasets", "ls", answer=service)
    monkeypatch.delenv("TRAINYARD_PROJECT")
    trainyard("datasets", "ls", answer=service)

    assert [each.headers.get("Trainyard-Project") for each in service.asked] == ["red", "blue", None]


def test_the_audit_log_is_read_page_by_page(trainyard: Trainyard, capsys: Capture):
    entry = {
        "id": "1-0", "at": "2026-11-26T10:11:12Z", "key_id": None, "project": None, "action": "GET /v1/me", "object": None, "outcome": 401,
        "address": "10.0.0.1", "request_id": "r", "times": 3,
    }  # fmt: skip
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        return httpx2.Response(200, json={"data": [entry], "next_cursor": "1-0" if len(asked) == 1 else None})

    assert trainyard("audit", "--refused", "--limit", "5", answer=answer) == 0

    assert asked == [{"refused": "true", "limit": "5"}, {"refused": "true", "limit": "4", "cursor": "1-0"}]
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["2026-11-26", "10:11", "-", "-", "401", "GET", "/v1/me", "10.0.0.1", "3"]
    ] * 2

"""Keys on real processes: the first one, those that are made with it, two APIs that agree on them, and a Redis that is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from service.client.errors import ClientError
from service.client.sdk import Client
from tests.e2e.stack import ROOT, Stack, running_stack, until
from tests.servers import S3Server

FIRST = re.compile(r"^ +(trainyard_\S+)$", re.MULTILINE)


def told(valkey_url: str, s3: S3Server) -> dict[str, Any]:
    """A database and a bucket of this file's own: whoever finds keys in theirs lets nobody in without."""
    return {
        "redis_url": valkey_url.replace("/0", "/7"),
        "s3": s3.environment() | {"S3_BUCKET": "locked"},
        "TRAINYARD_REQUIRE_API_KEY": "true",
    }


@pytest.fixture(scope="module")
def first(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """An API that lets nobody in without a key and was given none, and the key that it made."""
    with running_stack(tmp_path_factory.mktemp("first"), **told(valkey_url, s3)) as stack:
        (key,) = FIRST.findall((stack.folder / "api.log").read_text())
        yield stack, key


@pytest.fixture(scope="module")
def second(first: tuple[Stack, str], valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Another API of the same service, started when the first one has made its key."""
    assert first
    with running_stack(tmp_path_factory.mktemp("second"), **told(valkey_url, s3)) as stack:
        yield stack


@pytest.fixture
def client() -> Iterator[Callable[[Stack, str], Client]]:
    """Makes clients of a stack, with a key."""
    with ExitStack() as made:
        yield lambda stack, key: made.enter_context(Client(stack.client.url, key))


def trainyard(stack: Stack, key: str, *arguments: str) -> Any:
    """What the command answers, as JSON."""
    environment = stack.environment | {"TRAINYARD_URL": stack.client.url, "TRAINYARD_API_KEY": key, "XDG_CONFIG_HOME": str(stack.folder)}
    command = [sys.executable, "-m", "service.client.cli", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def test_the_first_key_is_made_and_told_once(client: Callable[[Stack, str], Client], first: tuple[Stack, str], second: Stack) -> None:
    """Whichever API starts first makes it; no later one does."""
    stack, key = first

    assert FIRST.findall((second.folder / "api.log").read_text()) == []
    for each in (stack, second):
        assert client(each, key).me()["role"] == "admin"
        with pytest.raises(ClientError) as refused:
            each.client.me()
        assert refused.value.problem["status"] == 401


def test_a_team_gets_a_project_and_keys_by_the_command(
    client: Callable[[Stack, str], Client], first: tuple[Stack, str], second: Stack
) -> None:
    """Made on one API, good on the other; revoked on one, refused by the other within the second that lookups are remembered."""
    stack, key = first
    trainyard(stack, key, "projects", "create", "red", "--description", "A team")
    reader = trainyard(stack, key, "keys", "create", "alice", "--role", "read", "--project", "red", "--expires", "1d")
    assert [each["name"] for each in trainyard(stack, key, "projects", "ls")] == ["default", "red"]

    elsewhere = client(second, reader["key"])
    assert elsewhere.me() | {"expires_at": None} == {
        "key_id": reader["id"],
        "name": "alice",
        "project": "red",
        "role": "read",
        "everywhere": False,
        "expires_at": None,
    }
    assert list(elsewhere.jobs()) == []
    with pytest.raises(ClientError) as refused:
        elsewhere.keys()
    assert refused.value.problem["status"] == 403
    rotated = trainyard(stack, key, "keys", "rotate", reader["id"], "--overlap", "0m")
    until(lambda: status(second, reader["key"]) == 401, seconds=1.9)
    assert status(second, rotated["key"]) == 200
    trainyard(stack, key, "keys", "revoke", reader["id"], "--yes")
    assert status(stack, rotated["key"]) == 401
    until(lambda: status(second, rotated["key"]) == 401, seconds=1.9)
    assert [(each["id"], each["state"]) for each in trainyard(stack, key, "keys", "ls", "--project", "red")] == [(reader["id"], "revoked")]


def status(stack: Stack, key: str) -> int:
    return httpx2.get(f"{stack.client.url}/v1/me", headers={"Authorization": f"Bearer {key}"}, trust_env=False).status_code


def test_what_was_done_is_told_with_who_and_from_where_and_no_secret(
    client: Callable[[Stack, str], Client], first: tuple[Stack, str]
) -> None:
    stack, key = first
    me = client(stack, key).me()["key_id"]
    asked = {"Authorization": f"Bearer {key}", "X-Request-ID": "mine-1"}
    made = httpx2.post(f"{stack.client.url}/v1/projects", json={"name": "told"}, headers=asked, trust_env=False)
    httpx2.delete(f"{stack.client.url}/v1/projects/told", headers=asked, trust_env=False)
    for _ in range(3):
        assert status(stack, key[:-1] + ("a" if key[-1] != "a" else "b")) == 401

    audit = trainyard(stack, key, "audit")

    assert made.headers["X-Request-ID"] == "mine-1"
    removed, created = [each for each in audit if each["object"] == "told"]
    assert (removed["action"], removed["outcome"]) == ("DELETE /v1/projects/{project}", 204)
    assert {name: created[name] for name in ("action", "outcome", "key_id", "address", "request_id", "times")} == {
        "action": "POST /v1/projects",
        "outcome": 201,
        "key_id": me,
        "address": "127.0.0.1",
        "request_id": "mine-1",
        "times": 1,
    }
    refused = [each for each in trainyard(stack, key, "audit", "--refused") if each["key_id"] is None]
    assert ("GET /v1/me", 401) in {(each["action"], each["outcome"]) for each in refused}
    assert key.rpartition("_")[2][:16] not in json.dumps(audit)


def test_keys_outlive_a_lost_redis_and_revoked_ones_stay_so(
    client: Callable[[Stack, str], Client], first: tuple[Stack, str], valkey_url: str, s3: S3Server, tmp_path: Path
) -> None:
    """An API that starts on an empty Redis finds them in storage; `trainyard rebuild` does, too."""
    stack, key = first
    admin = client(stack, key)
    admin.create_project("blue")
    kept, gone = (admin.create_key(name, project="blue") for name in ("kept", "gone"))
    admin.revoke_key(gone["id"])

    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as lost:
        lost.flushdb()
        with running_stack(tmp_path, **told(valkey_url, s3)) as again:
            assert FIRST.findall((again.folder / "api.log").read_text()) == []
            assert [status(again, each) for each in (key, kept["key"], gone["key"])] == [200, 200, 401]
        lost.flushdb()
    command = [sys.executable, "-m", "service.client.cli", "rebuild"]
    done = subprocess.run(command, cwd=ROOT, env=stack.environment, capture_output=True, text=True, check=True, timeout=120)
    assert re.search(r"\d+ key\(s\) and project\(s\) restored", done.stdout)
    until(lambda: status(stack, kept["key"]) == 200, seconds=3)
    assert status(stack, gone["key"]) == 401
    assert {each["name"] for each in admin.projects()} >= {"default", "blue"}

"""Quotas on real processes: two APIs on one Valkey and one storage, fifty clients that ask at the same moment, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx2
import pytest

from service.client.errors import NotFound, QuotaExceeded
from service.client.sdk import Client
from tests.e2e.stack import ROOT, Stack, running_stack, until
from tests.servers import S3Server

AT_ONCE = 50
JOB = {
    "dataset": {"type": "Digits"},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "epochs": 1,
}


@pytest.fixture(scope="module")
def stacks(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Stack]]:
    """Two APIs of one service that asks for no key."""
    told = {"redis_url": valkey_url.replace("/0", "/9"), "s3": s3.environment() | {"S3_BUCKET": "limited"}, "TRAINYARD_PROJECT_QUEUED": "3"}
    with ExitStack() as kept:
        yield [kept.enter_context(running_stack(tmp_path_factory.mktemp(name), **told)) for name in ("one", "two")]


@pytest.fixture(scope="module")
def ready(stacks: list[Stack]) -> list[Stack]:
    """Both know the spec: what races is the store."""
    for stack in stacks:
        stack.until_checked(JOB)
    return stacks


def project(stack: Stack, name: str, **quota: float) -> str:
    """A project that may have so much."""
    stack.client.create_project(name)
    stack.client.set_quota(name, **quota)
    return name


def at_once(ask: Callable[[int], httpx2.Response]) -> list[httpx2.Response]:
    """Fifty answers to fifty who begin together; one that is told to come back does."""
    gate = Barrier(AT_ONCE)

    def asked(number: int) -> httpx2.Response:
        gate.wait(60)
        answer = ask(number)
        while answer.status_code == 503:
            answer = ask(number)
        return answer

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(asked, range(AT_ONCE)))


def statuses(answers: list[httpx2.Response]) -> dict[int, int]:
    """How often each."""
    return dict(Counter(answer.status_code for answer in answers))


def test_fifty_clients_of_two_apis_get_just_so_many_jobs(ready: list[Stack]) -> None:
    """Each refusal says which quota, and does not ask to be tried again."""
    name = project(ready[0], "jobs", queued=20)
    urls = [f"{stack.client.url}/v1/jobs" for stack in ready]

    answers = at_once(
        lambda number: httpx2.post(urls[number % 2], json=JOB, headers={"Trainyard-Project": name}, timeout=60, trust_env=False)
    )

    assert statuses(answers) == {202: 20, 429: 30}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 20
    assert ready[1].client.quota(name)["used"]["queued"] == 20
    refusal = next(answer for answer in answers if answer.status_code == 429)
    assert refusal.headers["content-type"] == "application/problem+json"
    assert "retry-after" not in refusal.headers
    assert refusal.json()["type"] == "/problems/quota-exceeded"
    assert [fault["code"] for fault in refusal.json()["errors"]] == ["quota_queued"]


def test_fifty_uploads_to_two_apis_store_just_so_much(ready: list[Stack]) -> None:
    """Not a byte more lies in storage, and what is removed makes room."""
    name = project(ready[0], "uploads", stored_bytes=10_500)
    client = ready[0].client

    def upload(number: int) -> httpx2.Response:
        url = f"{ready[number % 2].client.url}/v1/datasets/set-{number}"
        return httpx2.put(url, content=f"{number:04}".encode() * 250, headers={"Trainyard-Project": name}, timeout=60, trust_env=False)

    answers = at_once(upload)

    assert statuses(answers) == {202: 10, 429: 40}
    assert "10 kB of 10.5 kB that it may store, and this would be 1 kB more." in next(
        answer.json()["detail"] for answer in answers if answer.status_code == 429
    )
    # they are no data sets: their objects go, and their bytes with them
    until(lambda: client.quota(name)["used"]["stored_bytes"] == 0, seconds=60)
    assert statuses([upload(50)]) == {202: 1}


def test_the_installations_quota_holds_for_a_project_without_one(ready: list[Stack]) -> None:
    """The SDK says so at once: it does not wait for what waiting does not change."""
    ready[0].client.create_project("plain")
    with Client(ready[0].client.url, project="plain") as client:
        for _ in range(3):
            client.submit(JOB)
        with pytest.raises(QuotaExceeded, match="This project has 3 of 3 jobs that may wait"):
            client.submit(JOB)


def test_the_command_shows_and_sets_what_it_is_told_alone(ready: list[Stack]) -> None:
    """What is not named stays; none and default are words."""
    ready[0].client.create_project("told")

    def quota(*arguments: str) -> Any:
        return json.loads(trainyard(ready[0], "quota", *arguments, "--json").stdout)

    assert quota("told")["limits"] == {"running": None, "queued": 3, "stored_bytes": None, "gpu_hours": None}
    quota("told", "--running", "2", "--bytes", "1.5GB", "--gpu-hours", "0.5")
    found = quota("told", "--queued", "none")
    assert found["quota"] == {"running": 2, "queued": 0, "stored_bytes": 1_500_000_000, "gpu_hours": 0.5}
    assert found["limits"] == {"running": 2, "queued": None, "stored_bytes": 1_500_000_000, "gpu_hours": 0.5}
    assert quota("told", "--queued", "default", "--running", "none")["limits"]["queued"] == 3

    lines = trainyard(ready[0], "quota", "told").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "project told",
        "jobs that run",
        "jobs that wait",
        "in storage",
        "GPU hours of 30 days",
    ]
    assert [line.split()[-1] for line in lines[1:]] == ["any", "3", "GB", "0.5"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("told", "--queued", "many"), "--queued many: say a number, as 100"),
        (("told", "--bytes", "5 parsecs"), "as 50GB"),
        (("told", "--running", "0"), "say `none`"),
        (("--queued", "5"), "Name the project"),
    ],
)
def test_a_quota_that_cannot_be_meant_is_told(ready: list[Stack], arguments: tuple[str, ...], word: str) -> None:
    done = trainyard(ready[0], "quota", *arguments, check=False)

    assert done.returncode == 2
    assert word in " ".join(done.stderr.split())


def test_a_quota_of_no_project_is_not_found(ready: list[Stack]) -> None:
    with pytest.raises(NotFound):
        ready[0].client.set_quota("none-such", queued=1)
    for body in ({"queued": -1}, {"queued": 1.5}, {"jobs": 3}, {"stored_bytes": 2**60}):
        answer = httpx2.put(f"{ready[0].client.url}/v1/projects/default/quota", json=body, timeout=60, trust_env=False)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad-request")


def trainyard(stack: Stack, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """What the command says."""
    environment = stack.environment | {"TRAINYARD_URL": stack.client.url, "XDG_CONFIG_HOME": str(Path(stack.folder))}
    command = [sys.executable, "-m", "service.client.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=check, timeout=120)

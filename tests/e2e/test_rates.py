"""A key's rate over two real API processes on one Redis, under clients that race."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx2
import pytest
import redis

from service.client.sdk import Client
from tests.e2e.stack import Stack, running_stack
from tests.servers import S3Server

KEY = "key-of-this-test"
CLIENTS, BURST = 50, 300


@pytest.fixture(scope="module")
def pair(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Stack]]:
    """Two APIs of one service. Of a key, 300 requests at once, and then one every thousand seconds: nothing refills meanwhile."""
    settings = {
        "redis_url": valkey_url.replace("/0", "/8"),
        "s3": s3.environment() | {"S3_BUCKET": "rated"},
        "TRAINYARD_API_KEY": KEY,
        "TRAINYARD_RATE_LIMIT": "0.001",
        "TRAINYARD_RATE_BURST": str(BURST),
    }

    def folder(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    with running_stack(folder("one"), **settings) as one, running_stack(folder("two"), **settings) as two:
        yield [one, two]


@pytest.fixture
def key(pair: list[Stack]) -> str:
    """A key that nobody has used."""
    with redis.Redis.from_url(pair[0].environment["REDIS_URL"]) as client:
        client.delete("ty:rate:key:environment")
    with Client(pair[0].client.url, KEY) as trainyard:
        return str(trainyard.create_key("racer")["key"])


def race(pair: list[Stack], key: str, number: int, start: Barrier) -> Counter[int]:
    """One client: asks the one API until it refuses, then the other. Statuses, and how often each came."""
    seen: Counter[int] = Counter()
    with httpx2.Client(headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60) as http:
        start.wait(60)
        for stack in (pair[number % 2], pair[1 - number % 2]):
            status = 0
            while status != 429:
                status = http.get(f"{stack.client.url}/v1/me").status_code
                seen[status] += 1
    return seen


def test_fifty_racing_clients_on_two_processes_get_exactly_what_was_said(pair: list[Stack], key: str) -> None:
    """Not one too many, whichever process they ask, and not one too few, though each process was lent some in advance."""
    start = Barrier(CLIENTS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        seen = sum(pool.map(lambda number: race(pair, key, number, start), range(CLIENTS)), Counter())

    assert seen[200] == BURST
    assert set(seen) == {200, 429}


def test_one_client_on_one_process_gets_all_of_it(pair: list[Stack], key: str) -> None:
    answers = []
    with httpx2.Client(base_url=pair[1].client.url, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as http:
        answers = [http.get("/v1/me") for _ in range(BURST + 20)]

    assert Counter(answer.status_code for answer in answers) == {200: BURST, 429: 20}
    assert answers[0].headers["RateLimit-Policy"] == f'"key";q={BURST};w=300000'
    assert answers[-1].headers["RateLimit"].startswith('"key";r=0;t=')

"""Fixtures that every folder of tests may use. Servers start when a test first asks for them, once per run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from tests.servers import S3Server, running_nanio, running_s3, running_valkey

LONG = os.environ.get("TRAINYARD_LONG_TESTS") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long runs where it is asked for."""
    for item in items:
        if not LONG and item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="a long run; set TRAINYARD_LONG_TESTS=1"))


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real Valkey for the whole run."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    """The URL of a real Valkey that holds nothing yet."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One real S3 server for the whole run."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def nanio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Another real S3 server for the whole run."""
    with running_nanio(tmp_path_factory.mktemp("nanio")) as server:
        yield server

"""The stores on both of their legs, Redis and memory, on one clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
import redis

from service.adapters import redis_jobs
from service.adapters.stores import Stores
from service.jobs.job import Job
from service.redis_users import STORE_USER, acl_lines

LEASE = 60


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    ms: int = 1_790_000_000_000

    def pass_by(self, seconds: float) -> None:
        """Move on."""
        self.ms += int(seconds * 1000)

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return self.ms

    def now(self) -> datetime:
        """The same as a datetime."""
        return datetime.fromtimestamp(self.ms / 1000, UTC)


@pytest.fixture
def clock() -> Clock:
    """The clock of this test."""
    return Clock()


@pytest.fixture
def store_url(redis_url: str) -> str:
    """The same Valkey for a user who may do there what the stores need, and nothing else."""
    _, store, _ = acl_lines(store_password="secret", broker_password="other")
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", *store.split()[1:])
    return redis_url.replace("redis://", f"redis://{STORE_USER}:secret@")


@pytest.fixture
def redis_stores(store_url: str, clock: Clock) -> Iterator[Stores]:
    """Every store on a real, empty Valkey."""
    stores = redis_jobs.connect(store_url, lease_seconds=LEASE, now_ms=clock.now_ms)
    yield stores
    stores.close()


@pytest.fixture(params=["memory", "redis"])
def stores(request: pytest.FixtureRequest, clock: Clock) -> Stores:
    """Every store, once in memory and once on a real Valkey."""
    if request.param == "memory":
        from service.adapters import memory

        return memory.stores(now=clock.now, lease_seconds=LEASE)
    found: Stores = request.getfixturevalue("redis_stores")
    return found


@pytest.fixture
def new_job(clock: Clock) -> Callable[..., Job]:
    """Makes jobs that nobody has submitted yet."""
    numbers = count(1)

    def make(**fields: Any) -> Job:
        number = next(numbers)
        spec = {"epochs": 5, "optimizer": {"type": "SGD", "lr": 0.1 + 0.2}, "layers": []}
        return Job(**{"id": f"job-{number:04}", "spec": spec, "resolved_spec": spec | {"seed": 0}, "created_at": clock.now()} | fields)

    return make

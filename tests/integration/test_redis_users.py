"""The users that `trainyard secrets` makes for Redis: each does its work, and sees nothing of the other's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from service import secrets
from service.adapters import redis_jobs
from service.adapters.celery_doorbell import CeleryDoorbell, LoopBell, OwnBell, celery_app
from service.local import free_port, valkey_command, wait_for_port
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit
from tests.integration.test_doorbell import rung
from tests.servers import process


@dataclass(frozen=True)
class Users:
    """A Redis with the users, and their URLs."""

    address: str
    jobs: str
    doorbell: str


@pytest.fixture
def users(tmp_path: Path) -> Iterator[Users]:
    """A real Valkey that lets in whom the secrets name."""
    secrets.make(tmp_path)
    port = free_port()
    command = [*valkey_command(folder=tmp_path, port=port, password=None), "--aclfile", str(tmp_path / "redis" / "users.acl")]
    with process(command, cwd=tmp_path):
        wait_for_port(port, seconds=20)
        urls = [(tmp_path / "api" / name).read_text().replace("redis:6379", f"127.0.0.1:{port}") for name in ("redis_url", "broker_url")]
        yield Users(f"redis://127.0.0.1:{port}/0", *urls)


def test_the_job_stores_user_keeps_jobs(users: Users, new_job: NewJob):
    """A job's whole way, and what sweepers do."""
    stores = redis_jobs.connect(users.jobs)
    job = submit(stores, new_job())
    taken = claim(stores)
    stores.attempts.renew(taken)
    stores.attempts.finish(taken, SUCCEEDED)

    assert stores.jobs.find(job.project, job.id).state == "succeeded"
    assert stores.jobs.outlook(job.project, limit=1).finished
    stores.housekeeping.expire()
    stores.close()


def test_the_doorbells_user_rings(users: Users):
    """From a thread and from a loop; a worker's own queue comes and goes."""
    app = celery_app(users.doorbell)
    lost = list[str]()

    async def from_a_loop() -> bool:
        bell = LoopBell(app, seconds=2)
        ringing = bell.ring("gpu", lost=lambda: lost.append("gpu"))
        await bell.aclose()
        return ringing

    assert asyncio.run(from_a_loop())
    own = OwnBell(app, "w1")
    own.ring()
    own.remove()
    CeleryDoorbell(app).ring("cpu", times=2)

    assert lost == []
    assert [len(rung(app, device)) for device in ("cpu", "gpu")] == [2, 1]
    app.close()


def test_neither_sees_what_is_the_others(users: Users):
    """Keys, channels, and everything that manages the server."""
    with redis.Redis.from_url(users.jobs) as jobs, redis.Redis.from_url(users.doorbell) as doorbell:
        for client, foreign in ((jobs, "ty-bell:cpu"), (doorbell, "ty:jobs")):
            with pytest.raises(NoPermissionError):
                client.llen(foreign)
            with pytest.raises(ResponseError, match="No permissions to access a key"):
                client.eval("return redis.call('GET', ARGV[1])", 0, foreign)  # type: ignore[no-untyped-call]  # redis types half of itself
            with pytest.raises(NoPermissionError):
                client.publish(foreign, "")
            for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("KEYS", "*")):
                with pytest.raises(NoPermissionError):
                    client.execute_command(*command)


def test_nobody_else_comes_in(users: Users):
    """No name, a wrong password; and whoever asks whether Redis lives learns that alone."""
    with redis.Redis.from_url(users.address) as nobody, pytest.raises(AuthenticationError):
        nobody.ping()
    with redis.Redis.from_url(users.address, username="jobs", password="wrong") as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    with redis.Redis.from_url(users.address, username="health", password="any") as health:
        assert health.ping()
        with pytest.raises(NoPermissionError):
            health.get("ty:jobs")

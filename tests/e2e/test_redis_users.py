"""A whole journey as the two Redis users of docs/howto/more-machines.md, the default one switched off: Valkey refuses nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.client.errors import NotFound
from tests.e2e.stack import ROOT, Stack, running_stack, until
from tests.servers import GuardedValkey, S3Server, guarded_valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GuardedValkey]:
    """A Valkey with an ACL file."""
    with guarded_valkey(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
def guarded(server: GuardedValkey, s3: S3Server, tmp_path: Path) -> Iterator[Stack]:
    """An API and its workers as the two users, told by files."""
    told = {"REDIS_URL_FILE": server.store_url, "TRAINYARD_BROKER_URL_FILE": server.broker_url}
    for name, url in told.items():
        (tmp_path / name).write_text(f"{url}\n")
    files = {name: str(tmp_path / name) for name in told}
    with running_stack(tmp_path, redis_url=None, s3=s3.environment(), **files) as running:
        yield running


@pytest.mark.long
def test_a_journey_with_two_redis_users(guarded: Stack, server: GuardedValkey, small: dict[str, object], long: dict[str, object]) -> None:
    """Submit, follow, pause, resume, lose a worker, cancel, retry, delete, rebuild, tidy up, drain: all of it is allowed."""
    worker = guarded.start_worker(slots=2)
    client = guarded.client
    first = client.wait(client.submit(small)["id"], timeout=60)
    job = client.submit(long | {"epochs": 400})["id"]
    guarded.until_event(job, "checkpoint")
    client.pause(job)
    assert client.get(job, wait=20, leaving="running")["state"] == "paused"
    client.resume(job)
    until(lambda: client.get(job)["attempt"] == 2, seconds=20)

    guarded.start_worker()
    worker.send_signal(signal.SIGKILL)
    until(lambda: client.get(job)["attempt"] == 3, seconds=30)
    client.cancel(job)
    assert client.wait(job, timeout=20)["state"] == "cancelled"
    retried = client.retry(job)["id"]
    client.cancel(retried)
    client.delete(first["id"])
    with pytest.raises(NotFound):
        client.get(first["id"])
    for command in ("service.rebuild", "service.gc"):
        done = subprocess.run(
            [sys.executable, "-m", command], cwd=ROOT, env=guarded.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    until(lambda: client.get(retried)["state"] == "cancelled", seconds=20)
    guarded.end_workers()

    with redis.Redis.from_url(server.admin_url, decode_responses=True) as admin:
        assert {key.partition(":")[0] for key in admin.scan_iter(count=1000)} == {"ty", "ty-bell"}
        assert [f"{entry['username']}: {entry['object']}" for entry in admin.acl_log()] == []
    assert first["state"] == "succeeded"

"""TLS to Redis by every client that we have, and storage as clouds offer it: hosts named by buckets, roles instead of keys."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis

from service.adapters.celery_doorbell import CeleryDoorbell, LoopBell, celery_app
from service.adapters.redis_jobs import connect
from service.adapters.redis_line import Lines
from service.adapters.s3_artifacts import S3Artifacts
from service.jobs.errors import StoreUnavailable
from service.settings import StoreSettings
from tests.certificates import Authority, self_signed, terminated
from tests.integration.steps import NewJob, submit
from tests.integration.test_s3 import settings_for
from tests.integration.test_start_faults import port_of
from tests.servers import S3Server, running_s3


@pytest.fixture
def secure_url(redis_url: str, tmp_path: Path) -> Iterator[str]:
    """The Redis behind TLS that lets nobody in without a certificate."""
    authority = Authority(tmp_path / "authority")
    good = authority.sign("good")
    with terminated(port_of(redis_url), good, clients=authority.certificate) as port:
        files = {"redis_ca_file": authority.certificate, "redis_cert_file": good.certificate, "redis_key_file": good.key}
        yield StoreSettings(redis_url=f"rediss://localhost:{port}/0", **files).redis_url


def test_the_stores_and_what_waits_for_changes_speak_tls(secure_url: str, new_job: NewJob) -> None:
    """The client of threads, and the subscription of an event loop."""
    stores = connect(secure_url)

    async def story() -> bool:
        submit(stores, new_job())
        with stores.changes.watch("job-0001") as watch:
            while await watch.wait(0.5):
                pass  # the subscription's own false alarms
            threading.Thread(target=stores.requests.cancel, args=("default", "job-0001")).start()
            told = await watch.wait(20)
        await stores.changes.aclose()
        return told

    assert asyncio.run(story())
    stores.close()


def test_the_own_connection_of_an_event_loop_speaks_tls(secure_url: str) -> None:
    """The one by which jobs are taken in."""
    lines = Lines(secure_url, seconds=5)

    async def ask() -> Any:
        line = await lines.open()
        answers = [await line.ask(("SET", "ty:x", 1), seconds=5), await line.ask(("GET", "ty:x"), seconds=5)]
        await lines.aclose()
        return answers

    assert asyncio.run(ask()) == [b"OK", b"1"]


def test_celery_speaks_tls(secure_url: str, redis_url: str) -> None:
    """A ring of Celery's own, and one from an event loop."""
    app = celery_app(secure_url)
    bell = LoopBell(app, seconds=5)

    async def ring() -> bool:
        rung = bell.ring("cpu", lost=lambda: None)
        await bell.aclose()
        return rung

    CeleryDoorbell(app).ring("cpu", times=1)
    assert asyncio.run(ring())

    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("ty-bell:cpu") == 2
    app.close()


def test_celery_rings_nobody_whom_it_cannot_trust(redis_url: str, tmp_path: Path) -> None:
    """Left to itself kombu would check no certificate at all."""
    with terminated(port_of(redis_url), self_signed(tmp_path)) as port:
        app = celery_app(f"rediss://localhost:{port}/0")

        with pytest.raises(StoreUnavailable, match="name the file of its CA in REDIS_CA_FILE"):
            CeleryDoorbell(app).ring("cpu", times=1)
    app.close()


def test_a_bucket_may_stand_in_the_hosts_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes no other way here; the name is looked up as a cloud's DNS would."""
    looked_up, real = [], socket.getaddrinfo

    def lookup(host: str, *rest: Any, **more: Any) -> Any:
        looked_up.append(host)
        return real("127.0.0.1" if host.endswith(".storage.example") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with running_s3(tmp_path, "--force-path-style=false") as server:
        endpoint = f"http://storage.example:{port_of(server.endpoint_url)}"
        (server.root / "trainyard").mkdir()
        store = S3Artifacts(settings_for(server, s3_endpoint_url=endpoint, s3_addressing="virtual"))
        store.ensure_bucket()
        store.put_bytes("t/a", b"x")

        assert b"".join(store.open("t/a")) == b"x"
        assert [each.key for each in store.list("t/")] == ["t/a"]

    assert set(looked_up) == {"trainyard.storage.example"}


def test_without_keys_the_role_of_the_container_is_used(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As boto3 finds it: an address in the environment that answers with keys for a while, asked again before they end."""
    asked: list[str] = []

    class Roles(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            ends = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            keys = {"AccessKeyId": s3.access_key, "SecretAccessKey": s3.secret_key, "Token": "session", "Expiration": ends}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(keys).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Roles) as roles:
        threading.Thread(target=roles.serve_forever).start()
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{roles.server_port}/keys")
        store = S3Artifacts(StoreSettings(s3_endpoint_url=s3.endpoint_url))
        store.ensure_bucket()
        store.put_bytes("t/role", b"x")

        assert b"".join(store.open("t/role")) == b"x"
        roles.shutdown()

    assert len(asked) > 1  # a minute is less than boto3 lets keys have left

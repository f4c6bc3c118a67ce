"""Every connection of ours gives up on packets that vanish, and asks an idle other side whether it is still there."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from service.adapters.celery_doorbell import CeleryDoorbell, celery_app
from service.adapters.redis_jobs import connect
from service.adapters.redis_line import Lines
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.sockets import SILENT_SECONDS
from tests.integration.test_s3 import settings_for
from tests.integration.test_start_faults import port_of
from tests.servers import S3Server

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has TCP_USER_TIMEOUT")


def patience(port: int) -> list[tuple[int, int]]:
    """Of each connection of this process to a port: after how many ms it is given up, and whether an idle one is asked."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(path.name))) as connection:  # no socket, or none that is connected
            if connection.family == socket.AF_INET and connection.getpeername()[1] == port:
                asked = connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                found.append((connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), asked))
    return found


def test_connections_to_redis_are_impatient(redis_url: str) -> None:
    """Of threads, of event loops, of the subscription, of Celery."""
    stores, app = connect(redis_url), celery_app(redis_url)
    lines = Lines(redis_url, seconds=5)

    async def all_of_them() -> list[tuple[int, int]]:
        stores.ping()
        await lines.open()
        with stores.changes.watch("job-0001") as watch:
            await watch.wait(5)  # subscribed
            CeleryDoorbell(app).ring("cpu", times=1)
            found = patience(port_of(redis_url))
            await stores.changes.aclose()
        await lines.aclose()
        return found

    found = asyncio.run(all_of_them())
    stores.close()
    app.close()

    assert len(found) >= 4
    assert set(found) == {(SILENT_SECONDS * 1000, 1)}


def test_connections_to_storage_are_impatient(s3: S3Server) -> None:
    """By a list of botocore's that is not public: a version that has another one shows here."""
    store = S3Artifacts(settings_for(s3))
    store.ensure_bucket()

    found = patience(port_of(s3.endpoint_url))

    assert (SILENT_SECONDS * 1000, 1) in found

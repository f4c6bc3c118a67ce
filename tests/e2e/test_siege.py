"""A service that many hold on to, or stuff, answers everybody else meanwhile. TRAINYARD_LONG_TESTS=1 has the full numbers."""

from __future__ import annotations

import os
import resource
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from service.adapters import redis_jobs
from service.jobs.job import Job
from tests.bench.reads import resident
from tests.e2e.stack import Stack, running_stack, until
from tests.servers import S3Server

LONG = os.environ.get("TRAINYARD_LONG_TESTS") == "1"
STREAMS, OF_ONE = (10_000, 1_000) if LONG else (400, 100)
SLOW = 200 if LONG else 60
VAST = 2**30 if LONG else 2**26
PER_STREAM = 64 * 1024
"""Bytes of memory that an idle stream may take."""
PATIENCE = 3.0
"""Seconds: what one of a hundred answers may take longer than, on a machine that has more to do; unbounded, each of these sieges stops others for longer."""


@pytest.fixture(scope="module")
def service(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API with places for as many streams as are opened here."""
    places = {"TRAINYARD_STREAMS": str(STREAMS), "TRAINYARD_STREAMS_PER_CLIENT": str(OF_ONE)}
    with running_stack(tmp_path_factory.mktemp("stack"), redis_url=valkey_url, s3=s3.environment(), **places) as running:
        yield running


@contextmanager
def answering(stack: Stack, job: str) -> Iterator[list[float]]:
    """Somebody else, who reads a job and lists all while the body runs; in the end the answers' times, and they were in time."""
    seconds: list[float] = []
    over = threading.Event()
    wrong: list[str] = []

    def reads() -> None:
        with httpx2.Client(base_url=stack.client.url, timeout=60, trust_env=False) as client:
            while not over.is_set():
                for path in (f"/v1/jobs/{job}", "/v1/jobs", "/healthz"):
                    started = time.perf_counter()
                    answer = client.get(path)
                    seconds.append(time.perf_counter() - started)
                    if answer.status_code != 200:
                        wrong.append(f"{path}: {answer.status_code} {answer.text}")
                over.wait(0.02)

    reader = threading.Thread(target=reads)
    reader.start()
    try:
        yield seconds
    finally:
        over.set()
        reader.join()
    assert wrong == []
    assert len(seconds) > 100
    assert statistics.quantiles(seconds, n=100)[98] < PATIENCE, statistics.quantiles(seconds, n=100)[98]
    print(f"p99 {1000 * statistics.quantiles(seconds, n=100)[98]:.1f} ms of {len(seconds)} answers")


def port(stack: Stack) -> int:
    return int(stack.environment["TRAINYARD_PORT"])


@pytest.fixture
def job(stack: Stack, small: dict[str, Any]) -> Iterator[str]:
    """One that waits, put where the API finds it: nothing has to be checked."""
    stores = redis_jobs.connect(stack.environment["REDIS_URL"])
    with closing(stores):
        yield stores.jobs.submit(
            Job(id="job_waiting", spec=small, resolved_spec=small, created_at=datetime.now(UTC)), idempotency=None
        ).job.id


@pytest.mark.timeout(900)
def test_idle_streams_leave_room_for_others(stack: Stack, job: str):
    """As many as there are places, from several addresses; each costs little, one more is told to come again, and all hear of a change."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < STREAMS + 500:
        pytest.skip(f"{STREAMS} connections take more open files than the {most} that are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ask = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()

    def stream(number: int) -> socket.socket:
        line = socket.create_connection(("127.0.0.1", port(stack)), timeout=60, source_address=(f"127.0.0.{2 + number // OF_ONE}", 0))
        line.sendall(ask)
        return line

    before = resident(stack.api_pid)
    with ExitStack() as lines, answering(stack, job) as seconds:
        streams = [lines.enter_context(closing(stream(number))) for number in range(STREAMS)]
        for each in streams:
            assert each.recv(65536).startswith(b"HTTP/1.1 200 ")
        taken = (resident(stack.api_pid) - before) / STREAMS
        with closing(stream(STREAMS)) as line:
            refused = line.recv(65536)
        stack.client.cancel(job)
        for each in streams:
            assert until_heard(each, b'"cancelled"')
        until(lambda: len(seconds) > 150, seconds=60)
    print(f"{taken / 1024:.1f} KiB a stream")

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 30" in refused
    assert taken < PER_STREAM


def until_heard(line: socket.socket, word: bytes) -> bool:
    """Whether a stream tells it before it ends."""
    heard = b""
    while word not in heard and (data := line.recv(65536)):
        heard += data
    return word in heard


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "begun",
    [b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX: ", b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n"],
)
def test_slow_senders_are_let_go_and_nobody_waits_for_them(stack: Stack, job: str, begun: bytes):
    """A byte every second from each of many: in half a minute or so all have been told, and cut off."""
    with answering(stack, job), ExitStack() as lines:
        slow = [lines.enter_context(closing(socket.create_connection(("127.0.0.1", port(stack)), timeout=1))) for _ in range(SLOW)]
        for line in slow:
            line.sendall(begun)
            line.setblocking(False)
        started, pause, told = time.monotonic(), threading.Event(), 0
        while slow:
            assert time.monotonic() - started < 60
            for line in list(slow):
                with suppress(BlockingIOError):
                    told += line.recv(65536).startswith(b"HTTP/1.1 408 ")
                    slow.remove(line)
                    continue
                with suppress(ConnectionError):
                    line.send(b"x")
            pause.wait(1)

    assert told == SLOW


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs",
        *(pytest.param(path, marks=pytest.mark.long) for path in ("/v1/jobs/validate", "/v1/jobs/none/predict", "/sign-in", "/ui/check")),
    ],
)
def test_a_vast_body_is_refused_and_nobody_waits_for_it(stack: Stack, job: str, path: str):
    """However far its sender goes; none of it stays in memory."""
    before = resident(stack.api_pid)
    with answering(stack, job) as seconds:
        with closing(socket.create_connection(("127.0.0.1", port(stack)), timeout=60)) as line:
            line.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {VAST}\r\n\r\n".encode())
            sent = 0
            with suppress(ConnectionError):
                while sent < VAST:
                    line.sendall(bytes(2**20))
                    sent += 2**20
        until(lambda: len(seconds) > 150, seconds=60)

    assert resident(stack.api_pid) - before < 100 * 2**20


@pytest.mark.long
@pytest.mark.timeout(300)
def test_bodies_that_take_long_to_read_stop_nobody(stack: Stack, job: str):
    """As large, and as dense, as they may be: YAML is read by Python, some seconds for each."""
    dense = b"a: [" + b"1, " * 80_000 + b"1]"
    dense_json = b'{"a": [' + b"1," * 500_000 + b"1]}"
    with answering(stack, job) as seconds, httpx2.Client(base_url=stack.client.url, timeout=120, trust_env=False) as client:
        for body, kind in ((dense, "application/yaml"), (dense_json, "application/json"), (b"[" * 250_000, "application/yaml")):
            # 503 where reading it left Redis's answer waiting for longer than a second
            assert client.post("/v1/jobs", content=body, headers={"Content-Type": kind}).status_code in (422, 503)
        until(lambda: len(seconds) > 150, seconds=60)

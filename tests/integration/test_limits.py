"""The edge over real sockets, under clients that mean no good; its times are short here."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, Request

from service.adapters import memory
from service.adapters.stores import Stores
from service.api.app import create_app
from service.api.auditing import Recorder
from service.api.connections import Connection
from service.api.guarding import HEAD_BYTES, MOST_HEADERS, Guarding
from service.api.incoming import Incoming
from service.api.keyring import Keyring
from service.api.lingering import Lingering
from service.api.places import Places
from service.api.problems import SAFE_HEADERS
from service.dashboard.mounting import mount
from service.jobs.job import Job
from service.jobs.ports import PreflightLoad
from service.use_cases.access import Access
from tests.e2e.stack import until
from tests.integration.conftest import Clock
from tests.services import services_of

IDLE, GRACE, FLOOR, MEMORY = 1.0, 0.8, 1000, 100_000
PAGE = {"Content-Security-Policy", "Cross-Origin-Opener-Policy"}


class Quick(Connection):
    """As in earnest, but sooner."""

    head_seconds = 0.6
    deaf_seconds = 1  # type: ignore[assignment]
    most = 20


@dataclass
class Edge:
    """A running server."""

    port: int
    server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)


@contextmanager
def served(app: Any) -> Iterator[Edge]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=Quick, ws="none", log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    until(lambda: server.started, seconds=10)
    try:
        yield Edge(port=server.servers[0].sockets[0].getsockname()[1], server=server)
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def twins(clock: Clock) -> Stores:
    return memory.stores(now=clock.now)


@pytest.fixture
def app(twins: Any) -> FastAPI:
    """The application on twins, with two places for who waits."""
    found = create_app(
        services=services_of(twins),
        changes=twins.changes,
        stamps=twins.stamps,
        checks={},
        keyring=Keyring(twins.access),
        access=Access(
            store=twins.access,
            audit=twins.audit,
            accounts=twins.accounts,
            artifacts=memory.MemoryArtifacts(),
            now=lambda: datetime.now(tz=UTC),
        ),
        recorder=Recorder(twins.audit),
        monitor=twins.monitor,
        preflight_load=lambda: PreflightLoad(children=1, busy=0, asked=0, waited_seconds=0.0, refused=0),
        hosts=["train.example"],
        places=Places(most=3, most_of_one=2),
    )
    mount(found)

    @found.get("/fails")
    def fails() -> None:
        raise RuntimeError("/a/path/of/ours")

    return found


@pytest.fixture
def edge(app: FastAPI) -> Iterator[Edge]:
    with served(app) as running:
        yield running


@pytest.fixture
def taking() -> Iterator[Edge]:
    """A route that takes whatever comes, and one that sends without an end, behind the middleware of bodies."""
    app = FastAPI()

    @app.post("/take")
    @app.put("/take")
    async def take(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @app.get("/endless")
    def endless() -> Any:
        from fastapi.responses import StreamingResponse

        return StreamingResponse(iter(lambda: bytes(2**16), None))

    from service.api import problems

    problems.install(app)
    app.add_middleware(Incoming, idle_seconds=IDLE, grace_seconds=GRACE, floor=FLOOR, memory_bytes=MEMORY)
    app.add_middleware(Lingering)
    with served(app) as running:
        yield running


def rest_of(line: socket.socket) -> bytes:
    """What comes until the other side closes."""
    got = b""
    while data := line.recv(65536):
        got += data
    return got


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_who_does_not_finish_a_head_is_told_and_cut_off(edge: Edge, sent: bytes):
    """Also one that sends a byte now and then."""
    started = time.monotonic()
    with closing(edge.open()) as line:
        line.sendall(sent)
        answer = rest_of(line)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert Quick.head_seconds <= time.monotonic() - started < Quick.head_seconds + 5
    until(lambda: edge.connections == 0, seconds=5)


def test_dribbling_wins_no_time(edge: Edge):
    started = time.monotonic()
    with closing(edge.open()) as line:
        line.settimeout(0.1)
        answer = b""
        while not answer:
            line.sendall(b"G" if time.monotonic() == started else b"E")
            try:
                answer = line.recv(65536)
            except TimeoutError:
                assert time.monotonic() - started < Quick.head_seconds + 5

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_dribbles_is_cut_off(taking: Edge):
    """A byte now and then is less than the floor, however regular."""
    started = time.monotonic()
    with closing(taking.open()) as line:
        line.sendall(b"POST /take HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        line.settimeout(0.1)
        answer = b""
        while not answer:
            line.sendall(b"x")
            try:
                answer = line.recv(65536)
            except TimeoutError:
                assert time.monotonic() - started < GRACE + 5

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert time.monotonic() - started >= GRACE


def test_a_body_that_pauses_is_cut_off_though_it_came_fast(taking: Edge):
    with closing(taking.open()) as line:
        line.sendall(b"PUT /take HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n" + bytes(500_000))
        started = time.monotonic()
        answer = rest_of(line)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert IDLE <= time.monotonic() - started < IDLE + 5


def test_an_honest_slow_upload_is_taken(taking: Edge):
    """Twice the floor, for twice the grace and longer."""
    parts, size = 20, 200
    assert parts * size / (2 * FLOOR) > 2 * GRACE
    with closing(taking.open()) as line:
        line.sendall(f"PUT /take HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {parts * size}\r\n\r\n".encode())
        pause = threading.Event()
        for _ in range(parts):
            line.sendall(bytes(size))
            pause.wait(size / (2 * FLOOR))
        answer = rest_of(line)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(str(parts * size).encode())


def test_bodies_take_no_more_memory_than_they_may(taking: Edge):
    """Those that are held by slow senders count; what is sent to disk does not, and what ended makes room."""
    with ExitStack() as lines, httpx2.Client(base_url=taking.url, trust_env=False) as client:
        slow = [lines.enter_context(closing(taking.open())) for _ in range(2)]
        for line in slow:
            line.sendall(b"POST /take HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + bytes(MEMORY // 2 - 1000))
        until(lambda: client.post("/take", content=bytes(4000)).status_code == 503, seconds=5)
        refused = client.post("/take", content=bytes(4000))
        uploaded = client.put("/take", content=bytes(4000))
        for line in slow:
            rest_of(line)

        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert uploaded.status_code == 200
        assert client.post("/take", content=bytes(4000)).json() == 4000


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux ends them")
def test_who_takes_nothing_is_let_go(taking: Edge):
    with closing(taking.open()) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n")
        until(lambda: taking.connections == 1, seconds=5)

        until(lambda: taking.connections == 0, seconds=30)


def test_so_many_connections_and_no_more(edge: Edge):
    with ExitStack() as lines:
        for _ in range(Quick.most):
            lines.enter_context(closing(edge.open()))
        until(lambda: edge.connections == Quick.most, seconds=5)
        with closing(edge.open()) as line:
            answer = rest_of(line)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in answer
    until(lambda: edge.connections == 0, seconds=5)
    assert httpx2.get(edge.url + "/healthz", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:1"}, 200),
        ({"Host": "10.1.2.3:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "train.example"}, 200),
        ({"Host": "train.example.evil.example"}, 421),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "["}, 400),
        ({"Host": "a/b"}, 400),
        ({"Host": "localhost@evil.example"}, 400),
        ({"X": "y" * HEAD_BYTES}, 431),
        ({f"x-{number}": "" for number in range(MOST_HEADERS)}, 431),
    ],
    ids=str,
)
def test_the_head_of_a_request_is_looked_at(edge: Edge, headers: dict[str, str], status: int):
    answer = httpx2.get(edge.url + "/healthz", headers=headers, trust_env=False)

    assert answer.status_code == status
    assert status == 200 or answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 422),
        ("http://127.0.0.1:{port}", 422),
        ("https://train.example", 422),
        ("http://127.0.0.1:1", 403),
        ("http://localhost:{port}", 403),
        ("http://evil.example", 403),
        ("https://train.example.evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
def test_a_page_of_another_site_changes_nothing(edge: Edge, origin: str | None, status: int):
    """Whatever it sends; with no key there is nothing else that would stop it."""
    headers = {} if origin is None else {"Origin": origin.format(port=edge.port)}

    assert httpx2.post(edge.url + "/v1/jobs", content=b"[]", headers=headers, trust_env=False).status_code == status


def test_every_answer_tells_browsers_what_not_to_do(edge: Edge):
    """Pages have a policy of their own; whatever else a browser shows runs nothing."""
    for path, status in (
        ("/healthz", 200),
        ("/v1/jobs", 200),
        ("/v1/jobs/none", 404),
        ("/none", 404),
        ("/", 200),
        ("/docs", 200),
        ("/fails", 500),
    ):
        answer = httpx2.get(edge.url + path, trust_env=False)

        assert answer.status_code == status, path
        assert {name: answer.headers.get(name) for name in SAFE_HEADERS} == SAFE_HEADERS, path
        assert "path/of/ours" not in answer.text
        if status != 500:
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert ("script-src" in answer.headers["content-security-policy"]) == ("html" in answer.headers["content-type"]), path


def test_streams_have_so_many_places(edge: Edge, twins: Any, new_job: Callable[..., Job]):
    """Of one address, and of all; long polls take them, too; who goes away makes room."""
    job = twins.jobs.submit(new_job(), idempotency=None).job.id
    ask = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()

    def streaming(address: str) -> socket.socket:
        line = socket.create_connection(("127.0.0.1", edge.port), timeout=10, source_address=(address, 0))
        line.sendall(ask)
        return line

    def status(line: socket.socket) -> bytes:
        return line.recv(65536).split(b"\r\n")[0]

    with ExitStack() as lines:
        first = [lines.enter_context(closing(streaming("127.0.0.1"))) for _ in range(2)]
        assert [status(line) for line in first] == [b"HTTP/1.1 200 OK"] * 2
        third = lines.enter_context(closing(streaming("127.0.0.1")))
        assert status(third) == b"HTTP/1.1 503 Service Unavailable"
        other = lines.enter_context(closing(streaming("127.0.0.2")))
        assert status(other) == b"HTTP/1.1 200 OK"
        poll = httpx2.get(f"{edge.url}/v1/jobs/{job}?wait=20", trust_env=False)
        assert (poll.status_code, poll.headers["retry-after"]) == (503, "30")
        assert httpx2.get(f"{edge.url}/v1/jobs/{job}", trust_env=False).status_code == 200

        for line in first:
            line.close()

        def comes_in() -> bool:
            with closing(streaming("127.0.0.1")) as line:
                return status(line) == b"HTTP/1.1 200 OK"

        until(comes_in, seconds=10)


def test_a_guard_without_names_lets_every_name_pass():
    """Where a key is required."""

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    with served(Guarding(app)) as running:
        answer = httpx2.get(running.url, headers={"Host": "anything.example"}, trust_env=False)

    assert answer.status_code == 200

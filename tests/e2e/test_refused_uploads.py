"""Uploads that are refused while they are sent, over real sockets: whoever sends reads the refusal, and nothing of the upload stays."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.api.lingering import LINGER_BYTES
from service.client.errors import BadRequest, ClientError, NotFound, Refused
from service.client.packing import chunks
from service.client.sdk import Client
from tests.e2e.stack import ROOT, Stack, running_stack, spooled, until
from tests.servers import S3Server
from tests.unit.ingest.corpus import npz

LIMIT = 2**21
SIZE = 3 * LINGER_BYTES
CURL = shutil.which("curl")
KEY = "key-of-this-test"
REFUSALS = {
    "too large": ("/v1/datasets/vast", 413, f"{LIMIT:,} bytes (TRAINYARD_UPLOAD_BYTES)"),
    "no name": ("/v1/datasets/Vast", 422, "no name for a data set"),
    "no such place": ("/v1/datasets/vast/er/still", 404, "Not Found"),
    "no key": ("/v1/datasets/vast", 401, "Authorization: Bearer"),
}


@pytest.fixture(scope="module")
def service(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API that takes two mebibytes, with a key."""
    settings = {
        "TRAINYARD_SPOOL_DIR": str(tmp_path_factory.mktemp("spool")),
        "TRAINYARD_UPLOAD_BYTES": str(LIMIT),
        "TRAINYARD_API_KEY": KEY,
    }
    with running_stack(tmp_path_factory.mktemp("stack"), redis_url=valkey_url, s3=s3.environment(), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def vast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than is allowed, and more than a refused upload is still listened to."""
    file = tmp_path_factory.mktemp("vast") / "vast.csv"
    with file.open("wb") as out:
        out.truncate(SIZE)
    return file


def headers_of(refusal: str) -> dict[str, str]:
    return {} if refusal == "no key" else {"Authorization": f"Bearer {KEY}"}


def address(stack: Stack) -> tuple[str, int]:
    return "127.0.0.1", int(stack.environment["TRAINYARD_PORT"])


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
@pytest.mark.parametrize("asking", ["expecting", "at once", "closing"])
@pytest.mark.parametrize("source", ["with a length", "in chunks"])
@pytest.mark.parametrize("refusal", list(REFUSALS))
def test_curl_shows_the_refusal(stack: Stack, vast: Path, refusal: str, source: str, asking: str):
    """It is told before it sends anything where the request's head says enough, and it asked (Expect: 100-continue)."""
    path, status, words = REFUSALS[refusal]
    extra = {"expecting": [], "at once": ["Expect:"], "closing": ["Expect:", "Connection: close"]}[asking]
    sent = [*(f"{name}: {value}" for name, value in headers_of(refusal).items()), *extra]
    command = ["curl", "-sv", "--max-time", "60", *(part for header in sent for part in ("-H", header))]
    with vast.open("rb") as file:
        ended = subprocess.run(
            [*command, "-T", str(vast) if source == "with a length" else "-", stack.client.url + path],
            stdin=file,
            capture_output=True,
            text=True,
            timeout=70,
            check=False,
        )

    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert (answer["status"], words in answer["detail"]) == (status, True), answer
    assert "< content-type: application/problem+json" in ended.stderr
    known_from_the_head = refusal != "too large" or source == "with a length"
    assert ("100 Continue" in ended.stderr) == (asking == "expecting" and not known_from_the_head)
    assert spooled(stack) == []


@pytest.mark.parametrize("source", ["with a length", "in chunks"])
@pytest.mark.parametrize("refusal", list(REFUSALS))
def test_our_client_says_the_refusal_and_sends_no_more(stack: Stack, vast: Path, refusal: str, source: str):
    path, status, words = REFUSALS[refusal]
    kind: type[ClientError] = {404: NotFound, 422: BadRequest}.get(status, Refused)
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for chunk in chunks(vast):
            sent += len(chunk)
            yield chunk

    headers = {"Content-Length": str(SIZE)} if source == "with a length" else {}
    with Client(stack.client.url, None if refusal == "no key" else KEY) as client, pytest.raises(kind) as refused:
        client._sent(path, body(), headers)

    assert words in str(refused.value)
    assert refused.value.problem["status"] == status
    assert sent < LINGER_BYTES


def test_the_command_says_the_refusal(stack: Stack, vast: Path):
    def push(name: str, key: str) -> subprocess.CompletedProcess[str]:
        environment = stack.environment | {"TRAINYARD_URL": stack.client.url, "TRAINYARD_API_KEY": key}
        command = [sys.executable, "-m", "service.client.cli", "datasets", "push", name, str(vast)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)

    for name, key, code, words in (
        ("vast", KEY, 1, REFUSALS["too large"][2]),
        ("Vast", KEY, 2, REFUSALS["no name"][2]),
        ("vast", "another", 1, "This is no key of this service"),
    ):
        ended = push(name, key)
        assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr


@pytest.mark.parametrize("source", ["with a length", "in chunks"])
@pytest.mark.parametrize("refusal", list(REFUSALS))
def test_who_sends_all_before_reading_finds_the_refusal(stack: Stack, refusal: str, source: str):
    """As most libraries do; and one that asked for the connection to be closed, which would be closed under its hands."""
    path, status, words = REFUSALS[refusal]
    parts = [bytes(2**20)] * 16
    length = {"Content-Length": str(2**24)} if source == "with a length" else {"Transfer-Encoding": "chunked"}
    with closing(http.client.HTTPConnection(*address(stack), timeout=60)) as line:
        headers = headers_of(refusal) | length | {"Connection": "close"}
        line.request("PUT", path, body=iter(parts), headers=headers, encode_chunked=source == "in chunks")
        answer = line.getresponse()
        told = json.loads(answer.read())

    assert (answer.status, words in told["detail"]) == (status, True), told


def test_who_goes_on_sending_is_cut_off_in_the_end(stack: Stack):
    """The refusal is there at once; what comes afterwards is taken for a while only."""
    chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
    sent = 0
    with socket.create_connection(address(stack), timeout=60) as line:
        head = f"PUT /v1/datasets/Vast HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
        line.sendall(head.encode())
        answer = line.recv(2000)
        with suppress(ConnectionError):
            while sent < 2 * LINGER_BYTES:
                line.sendall(chunk)
                sent += len(chunk)

    assert answer.startswith(b"HTTP/1.1 422")
    assert b"connection: close" in answer
    assert LINGER_BYTES // 2 < sent < 2 * LINGER_BYTES


def test_a_refusal_of_what_came_whole_keeps_the_connection(stack: Stack):
    with closing(http.client.HTTPConnection(*address(stack), timeout=60)) as line:
        headers = headers_of("") | {"X-Content-SHA256": "0" * 64}
        for _ in range(2):
            line.request("PUT", "/v1/datasets/damaged", body=b"a,b\n1,2\n", headers=headers)
            answer = line.getresponse()
            told: dict[str, Any] = json.loads(answer.read())
            assert (answer.status, answer.getheader("connection")) == (422, None)
            assert "damaged" in told["detail"]


@pytest.mark.skipif(os.geteuid() != 0 or CURL is None, reason="mounting a small disk takes root, and curl sends to it")
def test_a_disk_that_fills_up_is_told_and_the_same_upload_taken_once_there_is_room(valkey_url: str, s3: S3Server, tmp_path: Path):
    """By whoever sends; nothing of it can be found, or lies on the disk or in storage."""
    disk, folder = tmp_path / "disk", tmp_path / "stack"
    disk.mkdir()
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 256, (30_000, 5, 5), dtype=np.uint8)
    upload = tmp_path / "upload.npz"
    upload.write_bytes(npz(x=values, y=np.arange(len(values)) % 3))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(2**19))
        with running_stack(folder, redis_url=valkey_url, s3=s3.environment(), TRAINYARD_SPOOL_DIR=str(disk)) as stack:
            assert 2**19 < upload.stat().st_size < 2**20
            answers = []
            for source in (str(upload), "-"):
                command = ["curl", "-sS", "--max-time", "60", "-T", source, f"{stack.client.url}/v1/datasets/full"]
                with upload.open("rb") as file:
                    answers.append(json.loads(subprocess.run(command, stdin=file, capture_output=True, check=True, timeout=70).stdout))
            with pytest.raises(Refused) as refused:
                stack.client.push("full", upload)
            answers.append(refused.value.problem)

            for answer in answers:
                assert (answer["type"], answer["status"]) == ("/problems/upload-refused", 507)
                assert "No space left on device" in answer["detail"]
                assert "Make room below TRAINYARD_SPOOL_DIR" in answer["detail"]
            with pytest.raises(NotFound):
                stack.client.dataset("full")
            assert stack.client.datasets() == []
            assert spooled(stack) == [ballast]
            assert not list(s3.root.rglob("datasets/full"))

            ballast.unlink()
            sent = stack.client.push("full", upload)
            # as it came it has room, but not unpacked beside that: it is looked at again later
            until(lambda: "no room to unpack" in (folder / "api.log").read_text(), seconds=20)
            assert stack.client.dataset("full")["state"] == "validating"
            subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
            found = stack.client.wait_dataset("full", sent["version"], timeout=60)
            assert (found["state"], found["size"]) == ("ready", upload.stat().st_size), found["flaws"]
    finally:
        subprocess.run(["umount", disk], check=True)

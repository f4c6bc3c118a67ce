"""The fault proxy before a real Valkey and a real S3 server: each harm is the one that its name says, and no other."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import boto3
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.e2e.faults.proxy import Answer, CutReply, Delay, FaultProxy, Freeze, LoseReply, Pass, Refuse
from tests.servers import S3Server

BUCKET = "harmed"


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultProxy]:
    """Before an empty Valkey."""
    with FaultProxy(urlsplit(redis_url).port or 0) as standing:
        yield standing


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[redis.Redis]:
    """Through the proxy, in half a second or not at all, and never twice."""
    with redis.Redis(port=proxy.port, socket_timeout=0.5, retry=Retry(NoBackoff(), 0)) as through:
        through.ping()
        yield through


@pytest.fixture
def web(s3: S3Server) -> Iterator[FaultProxy]:
    """Before a real S3 server."""
    with FaultProxy(urlsplit(s3.endpoint_url).port or 0, http=True, seed=7) as standing:
        yield standing


@pytest.fixture
def bucket(web: FaultProxy, s3: S3Server) -> Iterator[object]:
    """An S3 client through the proxy that tries once."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=2)
    keys = {"aws_access_key_id": s3.access_key, "aws_secret_access_key": s3.secret_key, "region_name": "us-east-1"}
    through = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{web.port}", config=config, **keys)
    if BUCKET not in {row["Name"] for row in through.list_buckets()["Buckets"]}:
        through.create_bucket(Bucket=BUCKET)
    yield through
    through.close()


def test_without_harm_all_arrives(client: redis.Redis) -> None:
    """Requests and replies larger than a chunk pass whole."""
    data = bytes(range(256)) * 20_000

    client.set("a", data)

    assert client.get("a") == data


def test_a_delay_is_waited_for(client: redis.Redis, proxy: FaultProxy) -> None:
    """Every reply comes later by so much."""
    proxy.set(Delay(0.2))
    before = time.monotonic()

    client.ping()

    assert time.monotonic() - before >= 0.2


def test_a_frozen_network_answers_nobody_and_delivers_late(client: redis.Redis, proxy: FaultProxy, redis_url: str) -> None:
    """An open connection and a new one hang; what was sent before its sender gave up arrives when the network thaws."""
    proxy.set(Freeze())

    with pytest.raises(redis.TimeoutError):
        client.set("late", "1")
    with redis.Redis(port=proxy.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)) as new, pytest.raises(redis.TimeoutError):
        new.ping()
    with redis.Redis.from_url(redis_url) as direct:
        assert direct.get("late") is None
        proxy.set(Pass())
        assert client.ping()
        assert direct.get("late") == b"1"


def test_refused_is_refused_and_open_connections_stay(client: redis.Redis, proxy: FaultProxy) -> None:
    """Nobody listens for new connections; afterwards somebody does."""
    proxy.set(Refuse())

    assert client.ping()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=1)
    proxy.set(Pass())
    socket.create_connection(("127.0.0.1", proxy.port), timeout=1).close()


def test_a_lost_reply_leaves_the_write_done(client: redis.Redis, proxy: FaultProxy) -> None:
    """The client sees a reset; Valkey has applied the call, once."""
    proxy.set(LoseReply(request="INCR", times=1))

    with pytest.raises(redis.ConnectionError):
        client.incr("n")
    proxy.until_hit()

    assert client.get("n") == b"1"
    assert client.incr("n") == 2


def test_a_cut_reply_ends_after_so_many_bytes(client: redis.Redis, proxy: FaultProxy) -> None:
    """Of the reply exactly the first bytes arrive, then a reset."""
    client.set("long", "x" * 1000)
    proxy.set(CutReply(after=10))

    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as raw:
        raw.sendall(b"GET long\r\n")
        got = raw.recv(10, socket.MSG_WAITALL)
        with pytest.raises(ConnectionResetError):
            raw.recv(100)

    assert got == b"$1000\r\nxxx"


def test_a_cut_resets_what_is_open(proxy: FaultProxy) -> None:
    """An idle connection is reset; a new one works."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as idle:
        idle.sendall(b"PING\r\n")
        assert idle.recv(100) == b"+PONG\r\n"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            idle.recv(100)

    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as new:
        new.sendall(b"PING\r\n")
        assert new.recv(100) == b"+PONG\r\n"


def test_a_dead_server_is_seen_as_such() -> None:
    """With nobody behind it the proxy ends the connection; it swallows nothing."""
    with FaultProxy(1) as proxy, redis.Redis(port=proxy.port, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(redis.ConnectionError) as error:
            client.ping()

        assert not isinstance(error.value, redis.TimeoutError)


def answers(bucket, times: int) -> list[int]:
    """The status of so many puts."""
    found = []
    for number in range(times):
        try:
            bucket.put_object(Bucket=BUCKET, Key=f"a/{number}", Body=b"x")
        except ClientError as error:
            found.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
        else:
            found.append(200)
    return found


def test_a_share_of_requests_is_answered_with_an_error(bucket, web: FaultProxy) -> None:
    """The share is about what was asked for, the same again for the same seed, and the server never saw those requests."""
    web._chance.seed(1)
    web.set(Answer(status=503, share=0.3))
    first = answers(bucket, 60)
    hits = web.hits
    web._chance.seed(1)
    web.set(Answer(status=503, share=0.3))
    again = answers(bucket, 60)
    web.set(Pass())

    assert first == again
    assert set(first) == {200, 503}
    assert hits == first.count(503)
    assert 8 <= hits <= 30
    kept = {row["Key"] for row in bucket.list_objects_v2(Bucket=BUCKET, Prefix="a/")["Contents"]}
    assert kept == {f"a/{number}" for number, status in enumerate(first) if status == 200}


def test_a_put_whose_reply_is_lost_is_there(bucket, web: FaultProxy) -> None:
    """Only the method and path that were named are harmed, as often as was said; the object lies in storage."""
    web.set(LoseReply(request=r"^PUT \S+/manifest\.json", times=1))

    bucket.put_object(Bucket=BUCKET, Key="c/model", Body=b"weights" * 50_000)
    with pytest.raises(BotoCoreError):
        bucket.put_object(Bucket=BUCKET, Key="c/manifest.json", Body=b"{}")

    assert web.hits == 1
    assert bucket.get_object(Bucket=BUCKET, Key="c/manifest.json")["Body"].read() == b"{}"
    bucket.put_object(Bucket=BUCKET, Key="c/manifest.json", Body=b"{}")
    assert len(bucket.get_object(Bucket=BUCKET, Key="c/model")["Body"].read()) == 350_000


def test_a_download_that_breaks_off_is_seen(bucket, web: FaultProxy) -> None:
    """A cut body is an error of the read, never a short file."""
    bucket.put_object(Bucket=BUCKET, Key="d", Body=b"y" * 3_000_000)
    web.set(CutReply(request="^GET", after=1_500_000))

    body = bucket.get_object(Bucket=BUCKET, Key="d")["Body"]
    with pytest.raises(BotoCoreError):
        body.read()

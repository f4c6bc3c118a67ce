"""The artifact store on two real S3 servers that have nothing in common, and its twins in memory and in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from service.adapters.folder_artifacts import FolderArtifacts
from service.adapters.s3_artifacts import S3Artifacts, travels_safely
from service.jobs.errors import ArtifactNotFound, StorageUnavailable
from service.jobs.ports import ArtifactStore
from service.settings import StoreSettings
from tests.servers import S3Server, running_s3

another = pytest.mark.skipif(find_spec("nanio") is None, reason="nanio, a second S3 server, is in requirements-dev.lock: make install")


def settings_for(server: S3Server, **changes: object) -> StoreSettings:
    """Settings that point at this server."""
    where = {"s3_endpoint_url": server.endpoint_url, "aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    return StoreSettings(**{**where, **changes})


@pytest.fixture(params=["memory", "folder", "s3", pytest.param("nanio", marks=another)])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    """An artifact store with an empty folder `t/`."""
    if request.param == "memory":
        from service.adapters.memory import MemoryArtifacts

        yield MemoryArtifacts()
        return
    if request.param == "folder":
        yield FolderArtifacts(tmp_path / "store")
        return
    store = S3Artifacts(settings_for(request.getfixturevalue(request.param)))
    store.ensure_bucket()
    store.delete([found.key for found in store.list("t/")])
    yield store


def test_bytes_come_back(artifacts: ArtifactStore) -> None:
    """What was put is read back, also when it is empty; a second put replaces the first."""
    artifacts.put_bytes("t/a.json", b"old")
    artifacts.put_bytes("t/a.json", b'{"a": 1}')
    artifacts.put_bytes("t/empty", b"")

    assert b"".join(artifacts.open("t/a.json")) == b'{"a": 1}'
    assert b"".join(artifacts.open("t/empty")) == b""


def test_bodies_are_signed_where_somebody_could_change_them(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a network without TLS; the server takes both."""
    assert [travels_safely(url) for url in (None, "https://s3.example", "http://localhost:9000", "http://[::1]:9000")] == [True] * 4
    assert not travels_safely("http://minio:9000")
    monkeypatch.setattr("service.adapters.s3_artifacts.travels_safely", lambda _: False)
    store = S3Artifacts(settings_for(s3))
    store.ensure_bucket()

    store.put_bytes("t/signed", b"body")

    assert b"".join(store.open("t/signed")) == b"body"


def test_many_objects_are_removed_at_once(artifacts: ArtifactStore) -> None:
    """Those already gone are fine, and nothing else goes."""
    for name in ("a", "b & c", "größe", "kept"):
        artifacts.put_bytes(f"t/{name}", b"x")

    artifacts.delete(["t/a", "t/b & c", "t/gone", "t/größe"])
    artifacts.delete([])

    assert [found.key for found in artifacts.list("t/")] == ["t/kept"]


@another
@pytest.mark.parametrize("checksums", ["when_required", "when_supported"])
def test_uploads_are_listed_and_abandoned_on_another_server(nanio: S3Server, checksums: str) -> None:
    """Of those under a prefix; with checksums of the SDK's, too."""
    store = S3Artifacts(settings_for(nanio, s3_checksums=checksums))
    store.ensure_bucket()
    for key in ("t/up/a", "t/up/b", "t/other"):
        store._client.create_multipart_upload(Bucket="trainyard", Key=key)

    assert store.abort_uploads("t/up/") == 2
    assert store.abort_uploads("t/up/") == 0
    assert store.abort_uploads("t/") == 1
    store.put_bytes("t/checked", b"body")
    assert b"".join(store.open("t/checked")) == b"body"


@pytest.mark.parametrize(("answer", "raised"), [("NotImplemented", None), ("AccessDenied", StorageUnavailable)])
def test_a_server_that_removes_one_object_at_a_time_will_do(s3: S3Server, answer: str, raised: type[Exception] | None) -> None:
    """Each is asked for by itself then; another refusal is what it is."""
    store = S3Artifacts(settings_for(s3))
    store.ensure_bucket()
    store.put_bytes("t/singly/a", b"x")
    store.put_bytes("t/singly/b", b"x")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": answer}, "ResponseMetadata": {"HTTPStatusCode": 501}}, "DeleteObjects")

    store._client.meta.events.register("before-call.s3.DeleteObjects", refuse)
    with pytest.raises(raised) if raised else nullcontext():
        store.delete(["t/singly/a", "t/singly/b"])

    assert [found.key for found in store.list("t/singly/")] == ([] if raised is None else ["t/singly/a", "t/singly/b"])


def test_ranges_are_inclusive(artifacts: ArtifactStore) -> None:
    """start..end names both ends; without an end it reads to the last byte."""
    artifacts.put_bytes("t/digits", b"0123456789")

    assert b"".join(artifacts.open("t/digits", start=2, end=4)) == b"234"
    assert b"".join(artifacts.open("t/digits", start=7)) == b"789"
    assert b"".join(artifacts.open("t/digits", start=0, end=0)) == b"0"


def test_a_missing_object_is_said_before_the_first_byte(artifacts: ArtifactStore) -> None:
    """Opening what is not there raises at once, not while it is read."""
    with pytest.raises(ArtifactNotFound):
        artifacts.open("t/nothing")


def test_objects_are_listed_by_key(artifacts: ArtifactStore) -> None:
    """Everything below a prefix, and nothing beside it, in order, with size and a strong ETag that follows the content."""
    for key, data in {"t/x/b": b"22", "t/x/a": b"1", "t/x/sub/c": b"333", "t/xy": b"no"}.items():
        artifacts.put_bytes(key, data)

    found = artifacts.list("t/x/")
    artifacts.put_bytes("t/x/a", b"2")

    assert [(each.key, each.size) for each in found] == [("t/x/a", 1), ("t/x/b", 2), ("t/x/sub/c", 3)]
    assert '"' not in found[0].etag
    assert artifacts.list("t/x/")[0].etag != found[0].etag
    assert artifacts.list("t/none/") == []


def test_a_large_file_arrives_whole(artifacts: ArtifactStore, tmp_path: Path) -> None:
    """A file of several parts comes back byte for byte, in more than one chunk."""
    path = tmp_path / "large"
    data = os.urandom(70 * 2**20)
    path.write_bytes(data)

    artifacts.put_file("t/large", path, content_type="application/octet-stream")

    assert b"".join(artifacts.open("t/large")) == data


def test_more_than_a_page_is_listed(s3: S3Server) -> None:
    """A listing goes on past the thousand keys of S3's first page."""
    store = S3Artifacts(settings_for(s3))
    store.ensure_bucket()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put_bytes(f"many/{number:04}", b"x"), range(1005)))

    assert len(store.list("many/")) == 1005


def test_the_bucket_is_made_once(s3: S3Server) -> None:
    """A missing bucket is said by ping and made by ensure_bucket, which may be called again."""
    store = S3Artifacts(settings_for(s3, s3_bucket="fresh"))

    with pytest.raises(StorageUnavailable, match="fresh"):
        store.ping()
    store.ensure_bucket()
    store.ensure_bucket()

    store.ping()


def test_wrong_keys_are_named(s3: S3Server) -> None:
    """A refused key says which variables to look at."""
    store = S3Artifacts(settings_for(s3, aws_secret_access_key="wrong"))

    with pytest.raises(StorageUnavailable, match="AWS_SECRET_ACCESS_KEY"):
        store.ping()


def test_a_server_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    """Every call then raises StorageUnavailable naming the variable to look at, and nothing hangs."""
    with running_s3(tmp_path) as server:
        store = S3Artifacts(settings_for(server))
        store.ensure_bucket()
    file = tmp_path / "file"
    file.write_bytes(b"x")

    for ask in (
        store.ping,
        store.ensure_bucket,
        lambda: store.put_bytes("a", b"x"),
        lambda: store.put_file("a", file),
        lambda: store.open("a"),
        lambda: store.list("a"),
    ):
        with pytest.raises(StorageUnavailable, match="S3_ENDPOINT_URL"):
            ask()

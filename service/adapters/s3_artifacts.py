"""The artifact store on any S3-compatible server. Needs no conditional write, no lifecycle rule, no server-side checksum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.utils import determine_content_length

from service.adapters.s3_faults import is_elsewhere, refused, unreachable
from service.adapters.sockets import SOCKET_OPTIONS
from service.jobs.errors import ArtifactNotFound, StorageUnavailable
from service.jobs.ports import Stored

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from service.settings import StoreSettings

CHUNK = 256 * 1024
SMALL = 2**20
"""Bytes up to which a file goes out in one piece: boto3's transfers start threads for each."""
AT_ONCE = 1000
"""Keys in one DeleteObjects, at most (S3's API reference)."""
HOME = "us-east-1"
"""The region of a bucket that is made without naming one."""
NOT_KNOWN = ("NotImplemented", "MethodNotAllowed", "MalformedXML", "MissingContentMD5", "InvalidArgument")
"""What servers say that cannot, or not so, delete many objects at once."""
_TRANSFER = TransferConfig(multipart_threshold=64 * 2**20, multipart_chunksize=64 * 2**20, max_concurrency=4)


def client_of(settings: StoreSettings, endpoint_url: str | None) -> S3Client:
    """Who speaks to storage, or signs for it, at this address."""
    checksums = cast("Literal['when_required', 'when_supported']", settings.s3_checksums)
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=settings.aws_region,
        aws_access_key_id=settings.aws_access_key_id.get_secret_value() if settings.aws_access_key_id else None,
        aws_secret_access_key=settings.aws_secret_access_key.get_secret_value() if settings.aws_secret_access_key else None,
        aws_session_token=settings.aws_session_token.get_secret_value() if settings.aws_session_token else None,
        verify=str(settings.s3_ca_file) if settings.s3_ca_file else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": settings.s3_addressing, "payload_signing_enabled": not travels_safely(endpoint_url)},
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            retries={"mode": "standard", "max_attempts": 3},
            connect_timeout=3,
            read_timeout=60,
            max_pool_connections=16,
        ),
    )


class S3Artifacts:
    """Files by key in one bucket: the ArtifactStore port."""

    def __init__(self, settings: StoreSettings) -> None:
        self._bucket, self._region = settings.s3_bucket, settings.aws_region
        self._where = settings.s3_endpoint_url or "AWS"
        self._client = client_of(settings, settings.s3_endpoint_url)

        # botocore has no setting for more than SO_KEEPALIVE; every connection is made with this list
        self._client._endpoint.http_session._socket_options.extend(SOCKET_OPTIONS)  # type: ignore[attr-defined]  # noqa: SLF001  # see above
        self._client.meta.events.register_last("before-call.s3", _at_once_if_small)

    def ensure_bucket(self) -> None:
        """Make the bucket where it is missing. Safe to call from many processes at once."""
        with self._translated(self._bucket):
            try:
                self._look_at_bucket()
            except ClientError as error:
                if _status(error) != 404:
                    raise
                self._make_bucket()

    def _look_at_bucket(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _status(error) == 404:
                raise
            self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)  # the answer to a HEAD has no body that says why

    def _make_bucket(self) -> None:
        elsewhere = {} if self._region == HOME else {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
        faster = (self._client.exceptions.BucketAlreadyOwnedByYou, self._client.exceptions.BucketAlreadyExists)
        try:
            with suppress(*faster):  # another process was
                self._client.create_bucket(Bucket=self._bucket, **cast("Any", elsewhere))
        except ClientError as error:
            if is_elsewhere(error):
                raise
            detail = f"There is no bucket {self._bucket!r} at {self._where}, and it cannot be made: {error}."
            raise StorageUnavailable(detail, cure="Make it, or correct S3_BUCKET.") from error

    def ping(self) -> None:
        """Raises StorageUnavailable where the bucket cannot be reached."""
        try:
            with self._translated(self._bucket):
                self._look_at_bucket()
        except ArtifactNotFound as error:
            raise StorageUnavailable(f"The bucket {self._bucket!r} does not exist at {self._where} (S3_BUCKET).") from error

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:
        """Upload one file, in parts where it is large."""
        if path.stat().st_size <= SMALL:
            self.put_bytes(key, path.read_bytes(), content_type=content_type)
            return
        with self._translated(key):
            self._client.upload_file(str(path), self._bucket, key, ExtraArgs={"ContentType": content_type}, Config=_TRANSFER)

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/json") -> None:
        """Upload a small object."""
        with self._translated(key):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType=content_type)

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes start..end (inclusive; to the last where None), in chunks."""
        extra: dict[str, Any] = {} if start == 0 and end is None else {"Range": f"bytes={start}-{'' if end is None else end}"}
        with self._translated(key):
            body = self._client.get_object(Bucket=self._bucket, Key=key, **extra)["Body"]
        return self._chunks(key, body)

    def _chunks(self, key: str, body: Any) -> Iterator[bytes]:
        try:
            with self._translated(key):
                yield from body.iter_chunks(CHUNK)
        finally:
            body.close()

    def list(self, prefix: str) -> Sequence[Stored]:
        """Every object under the prefix, by key."""
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return [
                Stored(key=row["Key"], size=row["Size"], etag=row["ETag"].strip('"')) for page in pages for row in page.get("Contents", [])
            ]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those already gone are fine."""
        with self._translated("delete"):
            for batch in (keys[at : at + AT_ONCE] for at in range(0, len(keys), AT_ONCE)):
                for key in self._left_of(batch):
                    self._client.delete_object(Bucket=self._bucket, Key=key)

    def _left_of(self, batch: Sequence[str]) -> Sequence[str]:
        """The keys that one request for all of them did not remove: all, where the server has no such request."""
        if len(batch) == 1:
            return batch
        try:
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True})
        except ClientError as error:
            if error.response["Error"]["Code"] not in NOT_KNOWN:
                raise
            return batch
        return [fault["Key"] for fault in answer.get("Errors", [])]

    def abort_uploads(self, prefix: str) -> int:
        """Abandon every upload in parts under the prefix that was never completed; returns how many."""
        # some servers say 404 where there are none
        with suppress(ArtifactNotFound), self._translated(prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix)
            uploads = [(row["Key"], row["UploadId"]) for page in pages for row in page.get("Uploads", []) if row["Key"].startswith(prefix)]
            for key, upload in uploads:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
            return len(uploads)
        return 0

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if _status(error) == 404 and error.response["Error"]["Code"] != "NoSuchBucket":
                raise ArtifactNotFound(key) from error
            raise refused(error, self._where) from error
        except (BotoCoreError, boto3.exceptions.Boto3Error) as error:
            raise unreachable(error, self._where) from error


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _at_once_if_small(params: dict[str, Any], **_: object) -> None:
    """Send a small body with its head: to ask first whether it is welcome (Expect: 100-continue) costs more than sending it again would."""
    if "Expect" in params["headers"] and (determine_content_length(params["body"]) or 0) <= SMALL:
        del params["headers"]["Expect"]


def travels_safely(endpoint: str | None) -> bool:
    """Whether nobody on the way can change a body: under TLS, or on loopback. Its SHA-256 need not be signed then, half of an upload's work here.

    None is AWS itself, under TLS.
    """
    if endpoint is None:
        return True
    parts = urlsplit(endpoint)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")

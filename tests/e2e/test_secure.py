"""Roads to the stores, told by settings only: TLS to Redis and to storage, and a way to storage that users go themselves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from secrets import token_hex

import httpx2
import pytest

from service.client.errors import Refused
from service.client.sdk import Client
from tests.certificates import Authority, terminated
from tests.e2e.stack import running_stack
from tests.servers import S3Server, guarded_valkey, running_s3


def test_a_job_trains_with_tls_to_both(small: dict[str, object], tmp_path: Path) -> None:
    """Two Redis users, a certificate of our own, the one authority for both servers; everything else is as without."""
    authority = Authority(tmp_path / "authority")
    good = authority.sign("good")
    tls = ("--cert", str(good.certificate), "--key", str(good.key))
    with (
        guarded_valkey(tmp_path / "valkey") as valkey,
        running_s3(tmp_path / "s3", *tls) as s3,
        terminated(valkey.port, good, clients=authority.certificate) as port,
    ):
        secure = {
            url: url.replace("redis://", "rediss://").replace(f"127.0.0.1:{valkey.port}", f"localhost:{port}")
            for url in (valkey.store_url, valkey.broker_url)
        }
        settings = {
            "TRAINYARD_BROKER_URL": secure[valkey.broker_url],
            "REDIS_CA_FILE": str(authority.certificate),
            "REDIS_CERT_FILE": str(good.certificate),
            "REDIS_KEY_FILE": str(good.key),
            "S3_CA_FILE": str(authority.certificate),
        }
        storage = s3.environment() | {"S3_ENDPOINT_URL": s3.endpoint_url.replace("http://127.0.0.1", "https://localhost")}
        with running_stack(tmp_path, redis_url=secure[valkey.store_url], s3=storage, **settings) as stack:
            stack.start_worker()
            job = stack.client.wait(stack.client.submit(small)["id"], timeout=60)
            stack.client.download(job["id"], tmp_path / "home")

            assert job["state"] == "succeeded", job["error"]
            assert (tmp_path / "home" / "model.safetensors").exists()
            assert stack.client.ready()["status"] == "ok"
            assert stack.client.ready()["parts"]["broker"] == "ok"


def test_files_can_be_taken_from_storage_itself(valkey_url: str, s3: S3Server, small: dict[str, object], tmp_path: Path) -> None:
    """Under the name that users know it by, without a key to anything; to be told where, one needs the service's."""
    settings = {
        "S3_PUBLIC_ENDPOINT_URL": s3.endpoint_url.replace("127.0.0.1", "localhost"),
        "TRAINYARD_API_KEY": f"ty_{token_hex(16)}",
    }
    with running_stack(tmp_path, redis_url=valkey_url, s3=s3.environment(), **settings) as stack:
        stack.start_worker()
        job = stack.client.wait(stack.client.submit(small | {"epochs": 2})["id"], timeout=60)
        listed = [stack.client.artifacts(job["id"]), stack.client.artifacts(job["id"]), stack.client.checkpoints(job["id"])[0]["files"]]

        for file in (file for files in listed for file in files):
            answer = httpx2.get(file["download_url"], trust_env=False)
            assert (answer.status_code, hashlib.sha256(answer.content).hexdigest()) == (200, file["sha256"]), file["path"]
            assert answer.headers["content-disposition"].startswith("attachment"), file["path"]
        assert len(listed[0]) > 10
        with Client(stack.client.url, "ty_wrong") as stranger, pytest.raises(Refused):
            stranger.artifacts(job["id"])

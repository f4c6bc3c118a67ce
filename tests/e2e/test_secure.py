"""A job's journey with TLS to Redis and to storage, told by settings only."""

from __future__ import annotations

from pathlib import Path

from tests.certificates import Authority, terminated
from tests.e2e.stack import running_stack
from tests.servers import guarded_valkey, running_s3


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

"""Storage that answers with errors, loses its answers, or dies in the middle of a write; and a worker whose clock is wrong."""

from __future__ import annotations

import http.client
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest

from tests.e2e.faults.house import BUCKET, House, Part
from tests.e2e.faults.proxy import Answer, Harm, LoseReply, Pass


@pytest.fixture(scope="module")
def worker(house: House) -> Part:
    """One worker for all."""
    return house.worker("uploads").start()


@pytest.fixture
def undisturbed(house: House, worker: Part, quick: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The model that the job gives when nothing happens; trained once."""
    kept = tmp_path_factory.getbasetemp() / "quick"
    if not kept.exists():
        assert worker.alive
        kept.write_bytes(house.weights(house.run(quick)))
    return kept.read_bytes()


@pytest.mark.parametrize(
    "harm",
    [Answer(status=500, share=0.3), Answer(status=503, share=0.3), LoseReply(request=r"^PUT \S+/manifest\.json", times=3)],
    ids=["500", "503", "lost replies"],
)
def test_storage_that_stutters_costs_time_only(house: House, undisturbed: bytes, quick: dict[str, Any], harm: Harm):
    """Uploads are tried again, the same bytes land, the attempt goes on."""
    house.to_s3.set(harm)
    job = house.client.submit(quick)["id"]
    house.to_s3.until_hit(3)
    house.client.get(job, wait=5, leaving="running")
    house.to_s3.set(Pass())
    ended = house.client.wait(job, timeout=60)

    assert (ended["state"], ended["attempt"], ended["retries"]) == ("succeeded", 1, 0)
    assert house.weights(ended) == undisturbed


def test_a_server_that_dies_while_it_is_written_to_keeps_the_old_object(house: House):
    """Kill -9 of the S3 server in the middle of a PUT: the object is the old one, whole, and nothing half-written shows."""
    url = urlsplit(house.bucket.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "half/model"}))
    body = b"new" * 20_000_000  # far more than sockets hold: most of the half that is sent has been read
    whole = _begun(url, b"old", of=3)
    assert whole.getresponse().status == 200
    whole.close()

    cut = _begun(url, body[: len(body) // 2], of=len(body))
    house.s3.restart()
    cut.close()

    assert house.read("half/model") == b"old"
    assert house.keys("half/") == ["half/model"]
    house.bucket.put_object(Bucket=BUCKET, Key="half/model", Body=body)
    assert house.read("half/model") == body


def _begun(url: SplitResult, body: bytes, *, of: int) -> http.client.HTTPConnection:
    """A PUT of so many bytes, of which these are sent."""
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", str(of))
    connection.endheaders()
    connection.send(body)
    return connection


@pytest.mark.parametrize("hours", [1, -1])
def test_a_worker_whose_clock_is_wrong_works_as_well(
    house: House, worker: Part, undisturbed: bytes, quick: dict[str, Any], hours: int, tmp_path: Path
):
    """Its `time.time` is an hour off: leases are by Valkey's clock, waits by the monotonic one; no lease dies, nothing times out."""
    (tmp_path / "sitecustomize.py").write_text(f"import time\nreal = time.time\ntime.time = lambda: real() + 3600 * {hours}\n")
    wrong = house.worker(f"clock{hours}", PYTHONPATH=str(tmp_path)).start()

    with worker.frozen():
        ended = house.run(quick | {"epochs": 3, "resources": {"timeout_seconds": 60}})
    wrong.stop()

    written = datetime.fromisoformat((house.folder / f"{wrong.name}.log").read_text()[:19])
    assert abs((written - datetime.now()) / timedelta(hours=1)) > 0.9  # noqa: DTZ005  # logs have the local time
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert house.weights(ended) == undisturbed

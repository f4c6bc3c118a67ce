"""Many at once over HTTP: submitters with one key, and readers of a job that somebody deletes."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.e2e.stack import Stack, until


def http(stack: Stack) -> httpx2.Client:
    """A client that retries nothing."""
    return httpx2.Client(base_url=stack.client.url, timeout=60, trust_env=False)


def test_fifty_racing_posts_with_one_key_make_one_job(stack: Stack, small: dict[str, object]) -> None:
    """All are answered with 202 and the same id; one of them made it, the others say that they are replays."""
    # until the checking children have loaded torch, a service answers 503 and says when to come again; the spec itself stays unchecked
    with http(stack) as client:
        until(lambda: client.post("/v1/jobs/validate", json=small | {"loss": "NLLLoss"}).status_code == 200, seconds=90)

    with http(stack) as client, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/jobs", json=small, headers={"Idempotency-Key": "k"}), range(50)))

    assert Counter(answer.status_code for answer in answers) == {202: 50}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert sum(answer.headers.get("idempotent-replayed") == "true" for answer in answers) == 49
    assert len(stack.client.page()["data"]) == 1


def test_a_deleted_job_is_read_whole_or_not_at_all(stack: Stack, small: dict[str, object]) -> None:
    """While a user deletes it, every reader gets all of it or a 404, and nobody finds it again after the first 404."""
    stack.have_worker()
    job = stack.client.wait(stack.client.submit(small)["id"])
    paths = [f"/v1/jobs/{job['id']}{part}" for part in ("", "/events", "/metrics", "/logs", "/artifacts", "/artifacts/model.safetensors")]
    whole = {path: read(stack, path) for path in paths}
    begun, gone = threading.Semaphore(0), threading.Event()

    def reads(path: str) -> list[bytes | None]:
        seen: list[bytes | None] = []
        with http(stack) as client:
            while not gone.is_set():
                answer = client.get(path)
                seen.append(None if answer.status_code == 404 else answer.raise_for_status().content)
                begun.release()
        return seen

    with ThreadPoolExecutor(2 * len(paths)) as pool:
        readers = [(path, pool.submit(reads, path)) for path in 2 * paths]
        for _ in range(4 * len(readers)):
            begun.acquire()
        stack.client.delete(job["id"])
        for _ in range(4 * len(readers)):
            begun.acquire()
        gone.set()

    for path, reader in readers:
        seen = reader.result()
        assert set(seen) <= {whole[path], None}, path
        assert seen == sorted(seen, key=lambda content: content is None), path
        assert seen[-1] is None


def read(stack: Stack, path: str) -> bytes:
    with http(stack) as client:
        return client.get(path).raise_for_status().content


@pytest.mark.parametrize("ask", ["artifacts", "artifacts.zip", "artifacts/model.safetensors", "metrics", "logs", "events"])
def test_nothing_of_a_deleted_job_is_served(stack: Stack, small: dict[str, object], ask: str) -> None:
    """From the answer to the DELETE on, whatever the sweepers have not removed yet."""
    job = stack.client.submit(small)["id"]
    stack.client.cancel(job)
    stack.client.delete(job)

    with http(stack) as client:
        assert client.get(f"/v1/jobs/{job}/{ask}").status_code == 404


def test_a_download_under_way_is_whole_or_breaks_off(
    stack: Stack, small: dict[str, object], bucket_keys: Callable[[str], list[str]]
) -> None:
    """The job goes while its model is on the wire: the reader has every byte, or an error; never a short file that looks whole."""
    stack.have_worker()
    layers = ["Flatten", {"type": "Linear", "out_features": 400_000}, "ReLU", {"type": "Linear", "out_features": 10}]
    wide = small | {"model": {"type": "Sequential", "layers": layers}, "dataset": {"type": "Digits", "limit": 20}}
    job = stack.client.wait(stack.client.submit(wide)["id"], timeout=120)
    assert job["state"] == "succeeded"
    sha256 = {file["path"]: file["sha256"] for file in stack.client.artifacts(job["id"])}["model.safetensors"]

    digest = hashlib.sha256()
    with http(stack) as client, client.stream("GET", f"/v1/jobs/{job['id']}/artifacts/model.safetensors") as answer:
        assert answer.status_code == 200
        chunks = answer.iter_raw(65536)
        digest.update(next(chunks))
        stack.client.delete(job["id"])
        until(lambda: not bucket_keys(f"projects/default/jobs/{job['id']}/"), seconds=60)
        try:
            for chunk in chunks:
                digest.update(chunk)
        except httpx2.TransportError as error:
            print(f"broke off: {error}")
            return
    print("came whole")
    assert digest.hexdigest() == sha256

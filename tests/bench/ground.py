"""Where benchmarks run: one service of real processes, started once, with the workers that an arm asks for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.client.sdk import Client
from tests.e2e.stack import Stack, running_stack
from tests.servers import running_s3, running_valkey

DATA = Path(os.environ.get("TRAINYARD_DATASETS_DIR", Path(__file__).parents[3] / "shared" / "data"))
"""MNIST, whole, in torchvision's layout."""


class DataMissing(Exception):
    """What an arm trains on is not here."""


@contextmanager
def service(*, threads: int = 2, workers: int = 1, slots: int = 1, **settings: str) -> Iterator[Stack]:
    """A service with warm workers, as an installation would have them (lease and sweeping as by default)."""
    if not DATA.exists():
        raise DataMissing(f"{DATA} is not here: it has to hold MNIST in torchvision's layout.")
    chosen = {
        "TRAINYARD_THREADS": str(threads),
        "TRAINYARD_DATASETS_DIR": str(DATA),
        "TRAINYARD_LEASE_SECONDS": "60",
        "TRAINYARD_SWEEP_SECONDS": "5",
    }
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name) / "v") as url, running_s3(Path(name) / "s") as s3:
        folder = Path(name) / "api"
        folder.mkdir()
        with running_stack(folder, redis_url=url, s3=s3.environment(), **chosen | settings) as stack:
            for _ in range(workers):
                stack.start_worker(slots=slots)
            yield stack


def trained(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """The job after its end. Raises AssertionError where it did not succeed."""
    job = client.wait(client.submit(body)["id"])
    assert job["state"] == "succeeded", job["error"]
    return job

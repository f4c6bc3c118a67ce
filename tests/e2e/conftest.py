"""One running service per test file, torn down by pid."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from tests.e2e.stack import Stack, running_stack
from tests.servers import S3Server


@pytest.fixture(scope="module", autouse=True)
def empty(valkey_url: str) -> None:
    """No file finds what another left: one key would lock all of them."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()


@pytest.fixture(scope="module")
def service(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API for a whole file."""
    with running_stack(tmp_path_factory.mktemp("stack"), redis_url=valkey_url, s3=s3.environment()) as running:
        yield running


@pytest.fixture
def stack(service: Stack) -> Iterator[Stack]:
    """The file's API on an empty store. A test asks for a worker, or starts its own, in surroundings of its own."""
    service.forget()
    surroundings = dict(service.environment)
    yield service
    service.end_workers()
    service.environment = surroundings


@pytest.fixture
def small() -> dict[str, object]:
    """A job of a fraction of a second."""
    layers = ["Flatten", {"type": "Linear", "out_features": 16}, "ReLU", {"type": "Linear", "out_features": 10}]
    return {
        "dataset": {"type": "Digits", "limit": 200},
        "model": {"type": "Sequential", "layers": layers},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.1},
        "epochs": 1,
    }


@pytest.fixture
def long() -> dict[str, object]:
    """A job of ten seconds or so, with Dropout, a validation split and a checkpoint every epoch."""
    layers = [
        {"type": "Conv2d", "out_channels": 16, "kernel_size": 3, "padding": 1},
        "BatchNorm2d",
        "ReLU",
        "Flatten",
        {"type": "Dropout", "p": 0.3},
        {"type": "Linear", "out_features": 10},
    ]
    return {
        "seed": 3,
        "dataset": {"type": "Digits", "validation_split": 0.1},
        "dataloader": {"batch_size": 8},
        "model": {"type": "Sequential", "layers": layers},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "Adam", "lr": 0.001},
        "epochs": 40,
        "resources": {"max_retries": 3},
    }


@pytest.fixture
def bucket_keys(s3: S3Server) -> Callable[[str], list[str]]:
    """What lies in storage under a prefix."""
    return lambda prefix: [str(path) for path in (s3.root / "trainyard" / prefix).rglob("*") if path.is_file()]

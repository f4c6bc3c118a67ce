"""One house per test file: the parts are shared, the workers are each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.faults.house import House, running_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Valkey, S3, proxies and API; a lease of two seconds."""
    with running_house(tmp_path_factory.mktemp("house"), TRAINYARD_LEASE_SECONDS="2", TRAINYARD_PREFLIGHT_CHILDREN="1") as running:
        yield running


@pytest.fixture
def quick() -> dict[str, Any]:
    """A job of three short epochs with Dropout and BatchNorm, and a checkpoint every fourth step of thirty."""
    layers = ["Flatten", {"type": "Linear", "out_features": 16}, "BatchNorm1d", "ReLU", {"type": "Dropout", "p": 0.2}]
    return {
        "seed": 5,
        "dataset": {"type": "Digits", "limit": 200},
        "dataloader": {"batch_size": 20},
        "model": {"type": "Sequential", "layers": [*layers, {"type": "Linear", "out_features": 10}]},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "Adam", "lr": 0.01},
        "epochs": 3,
        "checkpoint": {"every_n_steps": 4, "keep_last": 1},
    }

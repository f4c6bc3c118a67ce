"""The whole service in real containers, once for all tests here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from time import monotonic

import pytest

from service import local
from service.client.sdk import Client
from service.local import free_port
from tests.containers.composed import DATA, LEASE_SECONDS, RIG, THREADS, Composed, docker, model_digest

MLP = {
    "dataset": "MNIST" if DATA.exists() else "Digits",
    "model": {
        "type": "Sequential",
        "layers": ["Flatten", {"type": "Linear", "out_features": 128}, "ReLU", {"type": "Linear", "out_features": 10}],
    },
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.01},
    "dataloader": {"batch_size": 64, "shuffle": True},
    "epochs": 5 if DATA.exists() else 40,
}
"""The textbook's job, as README posts it."""
LONG = MLP | {"epochs": 8 if DATA.exists() else 500}
"""Long enough for something to happen meanwhile."""
FIGURES: dict[str, str] = {}


@pytest.fixture(scope="session")
def engine() -> None:
    """A real container engine and the images that the files name."""
    if RIG.exists():
        for command in (["engine"], ["python", "python:3.11-slim"], ["redis", "redis:7"], ["s3", "trainyard-test-s3:latest"]):
            subprocess.run([RIG, *command], check=True, timeout=900)
    elif shutil.which("docker") is None or subprocess.run(["docker", "info"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no container engine answers here")


@pytest.fixture(scope="session")
def composed(request: pytest.FixtureRequest) -> Iterator[Composed]:
    """API, CPU worker, Redis and S3, built from this checkout and started without a word of preparation; gone with their volumes afterwards."""
    request.getfixturevalue("engine")
    settings = {
        "TRAINYARD_IMAGE": os.environ.get("TRAINYARD_IMAGE", "trainyard-test:cpu"),
        "TRAINYARD_IMAGE_CUDA": os.environ.get("TRAINYARD_IMAGE_CUDA", "trainyard-test:cuda"),
        "TRAINYARD_PORT": two_free_ports(),
        "TRAINYARD_THREADS": str(THREADS),
        "TRAINYARD_LEASE_SECONDS": str(LEASE_SECONDS),
        "REVISION": "tested",
    }
    if DATA.exists():
        settings["TRAINYARD_DATASETS"] = str(DATA)
    up = Composed(f"trainyard-test-{settings['TRAINYARD_PORT'].partition('-')[0]}", settings, figures=FIGURES)
    up.timed("build of Dockerfile.cpu", "build", "secrets")
    FIGURES["image of Dockerfile.cpu"] = size(up.image)
    try:
        began = monotonic()
        up.compose("up", "-d")
        up.until_workers(1)
        FIGURES["`up -d` to ready with a worker"] = f"{monotonic() - began:.1f} s"
        yield up
        up.client.close()
    finally:
        print(up.compose("logs", "--no-color", "--tail", "40", "api", "worker-cpu", "redis", "minio"))
        up.compose("down", "--volumes", "--timeout", "20")


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """By their number of epochs, the digests of the same jobs' models on `trainyard up`, on this machine, with the same threads."""
    with pytest.MonkeyPatch.context() as patch:
        if DATA.exists():
            patch.setenv("TRAINYARD_DATASETS_DIR", str(DATA))
        plan = local.Plan(data_dir=tmp_path_factory.mktemp("up"), port=free_port(), threads=THREADS)
        with local.running(plan) as running, Client(running.url) as client:
            jobs = [client.submit(spec) for spec in (MLP, LONG)]
            for job in jobs:
                assert client.wait(job["id"], timeout=600)["state"] == "succeeded"
            return {job["spec"]["epochs"]: model_digest(client, job["id"]) for job in jobs}


def two_free_ports() -> str:
    """Two beside each other, as a range."""
    while True:
        first = free_port()
        with socket.socket() as second:
            try:
                second.bind(("127.0.0.1", first + 1))
            except (OSError, OverflowError):
                continue
            return f"{first}-{first + 1}"


def size(image: str) -> str:
    """What it takes, and without the base, which is a stand-in on the rig."""
    whole, base = (json.loads(docker("image", "inspect", each))[0]["Size"] for each in (image, "python:3.11-slim"))
    return f"{whole / 1e6:,.0f} MB, {(whole - base) / 1e6:,.0f} MB of them over the base"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured on the way."""
    for what, figure in FIGURES.items():
        terminalreporter.write_line(f"{what}: {figure}")

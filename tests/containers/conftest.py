"""The whole service in real containers, once for all tests here."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from service.client.errors import Unreachable
from service.client.sdk import Client
from service.local import free_port

ROOT = Path(__file__).parent.parent.parent
RIG = ROOT.parent / "shared" / "containers" / "rig"
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Composed:
    """The running service, as somebody outside the containers sees it."""

    url: str
    key: str
    environment: dict[str, str]
    command: list[str]


@pytest.fixture(scope="session")
def engine() -> None:
    """A real container engine and the images that the files name."""
    if RIG.exists():
        for command in (["engine"], ["python", "python:3.11-slim"], ["redis", "redis:7"], ["s3", "trainyard-test-s3:latest"]):
            subprocess.run([RIG, *command], check=True, timeout=900)
    elif shutil.which("docker") is None or subprocess.run(["docker", "info"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no container engine answers here")


@pytest.fixture(scope="session")
def composed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """API, CPU worker, Redis and S3, built from this checkout; gone with their volumes afterwards."""
    request.getfixturevalue("engine")
    folder = tmp_path_factory.mktemp("compose")
    key, port = secrets.token_hex(16), free_port()
    (folder / "api_key").write_text(key)
    (folder / "api_key").chmod(0o644)
    environment = {
        **os.environ,
        "DOCKER_BUILDKIT": "0",
        "COMPOSE_DOCKER_CLI_BUILD": "0",
        "REDIS_PASSWORD": secrets.token_hex(16),
        "MINIO_ROOT_USER": "trainyard",
        "MINIO_ROOT_PASSWORD": secrets.token_hex(16),
        "TRAINYARD_PORT": str(port),
        "TRAINYARD_DATASETS": str(DATA if DATA.exists() else folder),
        "TRAINYARD_API_KEY_PATH": str(folder / "api_key"),
    }
    command = ["docker-compose", "-p", f"trainyard-test-{port}", "-f", "docker-compose.yml", "-f", "tests/containers/s3-override.yml"]
    up = Composed(url=f"http://127.0.0.1:{port}", key=key, environment=environment, command=command)
    try:
        run(up, "build", "api")
        run(up, "up", "-d", "api", "worker-cpu")
        await_ready(up)
        yield up
    finally:
        run(up, "down", "--volumes", "--timeout", "30")


def run(up: Composed, *arguments: str) -> None:
    """One compose command."""
    subprocess.run([*up.command, *arguments], cwd=ROOT, env=up.environment, check=True, timeout=1500)


def await_ready(up: Composed) -> None:
    """Until a job would run."""
    deadline, pause = monotonic() + 180, Event()
    with Client(up.url, up.key) as client:
        while True:
            try:
                if int(client.ready()["parts"]["workers"]) >= 1:
                    return
            except (Unreachable, ValueError, KeyError):
                pass
            if monotonic() > deadline:
                run(up, "logs", "--tail", "50")
                pytest.fail("the containers did not become ready")
            pause.wait(0.5)

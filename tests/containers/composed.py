"""The composed service: built from this checkout, started as README says, asked from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

from service.client.errors import Unreachable
from service.client.sdk import Client
from tests.e2e.stack import until

ROOT = Path(__file__).parent.parent.parent
RIG = ROOT.parent / "shared" / "containers" / "rig"
DATA = ROOT.parent / "shared" / "data"
THREADS = 1
"""Of every job here, as two workers share the machine."""
LEASE_SECONDS = 15


@dataclass
class Composed:
    """One project of compose. `settings` are what an operator might have put into .env."""

    project: str
    settings: dict[str, str]
    files: tuple[str, ...] = ("docker-compose.yml", "tests/containers/s3-override.yml")
    figures: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The classic builder, as the rig has it."""
        return {**os.environ, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0", **self.settings}

    @property
    def image(self) -> str:
        """The one of both roles."""
        return self.settings["TRAINYARD_IMAGE"]

    @cached_property
    def key(self) -> str:
        """The API key, as it was printed."""
        printed = re.findall(r"\bty_[0-9a-f]{48}\b", self.compose("logs", "--no-color", "secrets"))
        assert len(printed) == 1, "printed once, whatever was started again since"
        return str(printed[0])

    @cached_property
    def client(self) -> Client:
        """Somebody outside who has the key."""
        return Client(self.url(1), self.key)

    def url(self, nth: int) -> str:
        """Where an API is published."""
        port = json.loads(docker("inspect", self.container("api", nth)))[0]["NetworkSettings"]["Ports"]["8000/tcp"][0]
        return f"http://{port['HostIp']}:{port['HostPort']}"

    def compose(self, *arguments: str) -> str:
        """One compose command; what it printed."""
        command = ["docker-compose", "-p", self.project, *(word for file in self.files for word in ("-f", file)), *arguments]
        return _run(command, self.environment)

    def scale(self, **services: int) -> None:
        """So many containers of each service, the others as they are."""
        wanted = [word for service, number in services.items() for word in ("--scale", f"{service.replace('_', '-')}={number}")]
        self.compose("up", "-d", "--no-build", *wanted)

    def container(self, service: str, nth: int = 1) -> str:
        """The id of one running container; workers come and go, so they are counted, not named."""
        labels = (f"project={self.project}", f"service={service}")
        wanted = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
        rows = docker("ps", *wanted, "--format", '{{.Label "com.docker.compose.container-number"}} {{.ID}}').splitlines()
        return sorted((int(row.split()[0]), row.split()[1]) for row in rows)[nth - 1][1]

    def containers(self) -> list[str]:
        """The ids of all, those that ended too."""
        return docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}").split()

    def trains(self, job_id: str) -> str:
        """The container whose worker has this job."""
        [worker] = [worker["name"] for worker in self.client.workers() if job_id in worker["jobs"]]
        return str(worker).partition("-")[0]

    def until_workers(self, number: int, *, seconds: float = 400) -> None:
        """So many are registered."""
        until(lambda: self._workers() == number, seconds=seconds)

    def until_epoch(self, job_id: str, epoch: int) -> None:
        """The job has finished this epoch and not the last one."""
        until(lambda: (self.client.get(job_id)["progress"] or {"epoch": 0})["epoch"] >= epoch, seconds=300)
        assert self.client.get(job_id)["state"] == "running"

    def ends(self, job_id: str, folder: Path) -> tuple[dict[str, Any], str]:
        """The job at its end, and the SHA-256 of its model, which was downloaded and compared with it."""
        job = self.client.wait(job_id, timeout=600)
        assert job["state"] == "succeeded", job["error"]
        self.client.download(job_id, folder / job_id)
        return job, model_digest(self.client, job_id)

    def timed(self, what: str, *arguments: str) -> None:
        """A compose command, whose seconds are told at the end."""
        began = monotonic()
        self.compose(*arguments)
        self.figures[what] = f"{monotonic() - began:.0f} s"

    def _workers(self) -> int:
        try:
            return int(self.client.ready()["parts"]["workers"])
        except (Unreachable, ValueError):
            return 0


def model_digest(client: Client, job_id: str) -> str:
    """The SHA-256 that the manifest has."""
    [row] = [row for row in client.artifacts(job_id) if row["path"] == "model.safetensors"]
    return str(row["sha256"])


def docker(*arguments: str) -> str:
    """One docker command; what it printed."""
    return _run(["docker", *arguments], {**os.environ, "DOCKER_BUILDKIT": "0"})


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout

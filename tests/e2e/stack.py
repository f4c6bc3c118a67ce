"""Real processes for e2e tests: an API and workers of their own, on shared servers, each test on an empty store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import httpx2
import redis

from service.client.sdk import Client
from service.local import free_port, wait_for_port

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Stack:
    """A running API and its workers."""

    folder: Path
    environment: dict[str, str]
    client: Client
    api_pid: int = 0
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    lasting: subprocess.Popen[bytes] | None = None
    """A worker that serves one test after the other."""

    def have_worker(self) -> None:
        """Some worker with one slot, for who does nothing to it: the last test's where there is one. Returns once it is registered."""
        if self.lasting is None:
            self.lasting = self._start("lasting", slots=1)
        until(lambda: int(self.client.ready()["parts"]["workers"]) == 1, seconds=60)

    def start_worker(self, *, slots: int | None = 1, device: str = "cpu") -> subprocess.Popen[bytes]:
        """A worker of the test's own, beside those that it started before; returns once it is registered."""
        self.dismiss()
        before = int(self.client.ready()["parts"]["workers"])
        worker = self._start(str(len(self.workers) + 1), slots=slots, device=device)
        self.workers.append(worker)
        until(lambda: int(self.client.ready()["parts"]["workers"]) > before, seconds=60)
        return worker

    def dismiss(self) -> None:
        """End the lasting one."""
        if self.lasting is not None:
            end(self.lasting)
            self.lasting = None

    def forget(self) -> None:
        """All jobs, data sets and beats; the broker's queues stay, to which API and workers listen."""
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as client:
            if names := client.keys("ty:*"):
                client.delete(*names)

    def _start(self, number: str, *, slots: int | None, device: str = "cpu") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "worker.main", "--device", device, "--name", f"w{number}"]
        command += [] if slots is None else ["--slots", str(slots)]
        environment = self.environment | {"TRAINYARD_ZYGOTE_LOG": str(self.folder / f"zygote-{number}.log")}
        with (self.folder / f"worker-{number}.log").open("wb") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)

    def until_checked(self, spec: dict[str, Any]) -> None:
        """Until a checking child has loaded torch: before that a service on a busy machine answers 503."""
        key = self.environment.get("TRAINYARD_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx2.Client(base_url=self.client.url, timeout=60, trust_env=False, headers=headers) as client:
            until(lambda: client.post("/v1/jobs/validate", json=spec).status_code == 200, seconds=200)

    def end_workers(self) -> None:
        """All of them."""
        for worker in self.workers:
            end(worker)
        self.workers.clear()

    def tree(self, worker: subprocess.Popen[bytes]) -> list[int]:
        """The pids of a worker, its zygote and its trainers."""
        found, waiting = [], [worker.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting += children(pid)
        return found

    def until_event(self, job_id: str, type: str) -> dict[str, object]:
        """The first event of a type."""
        return next(event for event in self.client.events(job_id) if event["type"] == type)


def children(pid: int) -> list[int]:
    """The pids of a process's children, whichever of its threads started them."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in list(Path(f"/proc/{pid}/task").iterdir()):
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ends meanwhile hides no other's
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def spooled(stack: Stack) -> list[Path]:
    """What lies on the API's disk, but for its lock."""
    return [path for path in Path(stack.environment["TRAINYARD_SPOOL_DIR"]).rglob("*") if path.is_file() and path.name != "lock"]


def until(true, *, seconds: float) -> None:
    """Wait for something that announces itself nowhere else."""
    deadline, pause = monotonic() + seconds, Event()
    while not true():
        assert monotonic() < deadline, "it did not come about in time"
        pause.wait(0.05)


@contextmanager
def running_stack(folder: Path, *, redis_url: str | None, s3: dict[str, str], **settings: str) -> Iterator[Stack]:
    port = free_port()
    environment = {
        **os.environ,
        **({"REDIS_URL": redis_url} if redis_url else {}),
        **s3,
        "TRAINYARD_PORT": str(port),
        "TRAINYARD_THREADS": "1",
        "TRAINYARD_PREFLIGHT_CHILDREN": "1",
        "TRAINYARD_SWEEP_SECONDS": "0.5",
        "TRAINYARD_LEASE_SECONDS": "3",
        "TRAINYARD_WORK_DIR": str(folder / "work"),
        **settings,
    }
    with ExitStack() as stack, (folder / "api.log").open("wb") as log:
        api = subprocess.Popen([sys.executable, "-m", "service.main"], cwd=ROOT, env=environment, stdout=log, stderr=log)
        stack.callback(end, api)
        wait_for_port(port, seconds=60, alive=lambda: api.poll() is None)
        client = stack.enter_context(Client(f"http://127.0.0.1:{port}", settings.get("TRAINYARD_API_KEY")))
        running = Stack(folder=folder, environment=environment, client=client, api_pid=api.pid)
        stack.callback(running.dismiss)
        stack.callback(running.end_workers)
        yield running


def end(process: subprocess.Popen[bytes]) -> None:
    """TERM, and KILL for who does not listen."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

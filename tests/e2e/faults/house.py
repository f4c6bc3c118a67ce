"""A whole Trainyard whose every part can be killed, frozen and started again: Valkey, S3, a fault proxy before each, an API, workers."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import redis
from botocore.config import Config

from service.client.sdk import Client
from service.local import free_port, rclone_command, rclone_environment, valkey_command, wait_for_port
from tests.e2e.faults.network import FarHost
from tests.e2e.faults.proxy import FaultProxy
from tests.e2e.stack import ROOT, children, until

BUCKET = "trainyard"


@dataclass(kw_only=True)
class Part:
    """One process under a name; started again it is the same part."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    ready: Callable[[float], bool]
    """Whether the part that was started at this time (seconds since 1970) does its work."""
    process: subprocess.Popen[bytes] = field(init=False)

    def launch(self) -> float:
        """Start it; the time of that."""
        started = time.time()
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=dict(self.environment), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        return started

    def start(self, *, seconds: float = 60) -> Part:
        """Start it and wait until it does its work."""
        started = self.launch()
        until(lambda: self.ready(started) or not self.alive, seconds=seconds)
        assert self.alive, f"{self.name} died at its start: {self.last_words()}"
        return self

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9 of this process alone."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> Part:
        self.kill()
        return self.start()

    def stop(self) -> None:
        """TERM, and KILL for who does not listen."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT after the block."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    @property
    def zygotes(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if b"worker.zygote" in _read(pid, "cmdline")]

    @property
    def trainers(self) -> list[int]:
        return [trainer for zygote in self.zygotes for trainer in children(zygote)]

    def tree(self) -> list[int]:
        """The pids of this process and all below it."""
        found, waiting = [], [self.process.pid]
        while waiting:
            found.append(waiting.pop())
            waiting += children(found[-1])
        return found

    def last_words(self) -> str:
        return "\n".join((self.folder / f"{self.name}.log").read_text(errors="replace").splitlines()[-8:])


@dataclass
class House:
    """Every part. `redis` and `bucket` look behind the proxies."""

    folder: Path
    environment: dict[str, str]
    valkey: Part
    s3: Part
    to_valkey: FaultProxy
    to_s3: FaultProxy
    api: Part
    redis: redis.Redis
    bucket: Any
    client: Client
    far: FarHost | None = None
    there: Mapping[str, str] = field(default_factory=dict)
    """Where the far host finds the stores."""
    workers: dict[str, Part] = field(default_factory=dict)

    def worker(self, name: str, **environment: str) -> Part:
        """A worker, not started yet."""
        command = [sys.executable, "-m", "worker.main", "--device", "cpu", "--slots", "1", "--name", name]
        own = {**self.environment, "TRAINYARD_ZYGOTE_LOG": str(self.folder / f"{name}-zygote.log"), **environment}
        self.workers[name] = Part(
            name=name, command=command, environment=own, folder=self.folder, ready=lambda since: self.beats(name, since)
        )
        return self.workers[name]

    def far_worker(self, name: str, **environment: str) -> Part:
        """A worker on the far host, not started yet: of all this it reaches the two stores alone."""
        assert self.far is not None
        part = self.worker(name, **self.there, **environment)
        part.command = [*self.far.prefix, *part.command]
        return part

    def beats(self, name: str, since: float) -> bool:
        """Whether a worker has beaten since then (seconds since 1970)."""
        return (self.redis.zscore("ty:workers", name) or 0) >= since * 1000

    def run(self, spec: Mapping[str, Any], *, timeout: float = 60) -> dict[str, Any]:
        """Submit and wait for the end."""
        return self.client.wait(self.client.submit(spec)["id"], timeout=timeout)

    def until_event(self, job_id: str, type: str) -> dict[str, Any]:
        """The first event of a type."""
        return next(event for event in self.client.events(job_id) if event["type"] == type)

    def weights(self, job: Mapping[str, Any]) -> bytes:
        """The model's bytes, as a user gets them."""
        self.client.download(job["id"], self.folder / "models" / job["id"])
        return (self.folder / "models" / job["id"] / "model.safetensors").read_bytes()

    def keys(self, prefix: str = "") -> list[str]:
        """What lies in storage."""
        pages = self.bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [row["Key"] for page in pages for row in page.get("Contents", [])]

    def uploads(self) -> list[str]:
        """Keys of multipart uploads that were begun and neither ended nor aborted."""
        try:
            found = self.bucket.list_multipart_uploads(Bucket=BUCKET)
        except self.bucket.exceptions.NoSuchUpload:  # rclone's way to say that there are none
            return []
        return [each["Key"] for each in found.get("Uploads", [])]

    def read(self, key: str) -> bytes:
        """An object's bytes."""
        return self.bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def processes(self) -> dict[int, str]:
        """Every living process that was started under this house, by whatever parent: pid and command line."""
        mark = f"TMPDIR={self.environment['TMPDIR']}".encode()
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        marked = [pid for pid in pids if mark in _read(pid, "environ").split(b"\0")]
        return {pid: _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace") for pid in marked}

    def stop(self) -> None:
        """Workers, API, then the stores."""
        for part in (*self.workers.values(), self.api, self.s3, self.valkey):
            if hasattr(part, "process"):
                part.stop()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def moments(redis_client: redis.Redis, job_id: str) -> list[dict[str, str]]:
    """What the history says of one job, oldest first."""
    return [entry for _, entry in redis_client.xrange("ty:history") if entry["id"] == job_id]


@contextmanager
def running_house(folder: Path, *, seed: int = 0, far: FarHost | None = None, **settings: str) -> Iterator[House]:
    """Stores, proxies and an API; each test starts its workers. Ended part by part.

    With a far host the stores are reached from there, too, by no proxy.
    """
    with ExitStack() as stack:
        house = _built(folder, seed=seed, far=far, settings=settings, stack=stack)
        stack.callback(house.stop)
        house.valkey.start()
        house.s3.start()
        house.bucket.create_bucket(Bucket=BUCKET)
        house.api.start()
        yield house


def _built(folder: Path, *, seed: int, far: FarHost | None, settings: Mapping[str, str], stack: ExitStack) -> House:
    for name in ("valkey", "objects"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    valkey_port, s3_port, api_port, secret = free_port(), free_port(), free_port(), secrets.token_hex(16)
    to_valkey = stack.enter_context(FaultProxy(valkey_port, seed=seed))
    to_s3 = stack.enter_context(FaultProxy(s3_port, http=True, seed=seed + 1))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "AWS_", "S3_", "REDIS_"))},
        # marks every process of this house; short, for a DataLoader's sockets lie there, and a socket's path ends at 108 bytes
        "TMPDIR": stack.enter_context(tempfile.TemporaryDirectory(prefix="ty-", dir="/tmp", ignore_cleanup_errors=True)),
        "REDIS_URL": f"redis://127.0.0.1:{to_valkey.port}/0",
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{to_s3.port}",
        **rclone_environment("test", secret),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": secret,
        "TRAINYARD_PORT": str(api_port),
        "TRAINYARD_THREADS": "1",
        "TRAINYARD_SWEEP_SECONDS": "0.5",
        "TRAINYARD_LEASE_SECONDS": "3",
        "TRAINYARD_WORK_DIR": str(folder / "work"),
        **settings,
    }

    there = {"REDIS_URL": f"redis://{far.valkey}:{valkey_port}/0", "S3_ENDPOINT_URL": f"http://{far.s3}:{s3_port}"} if far else {}
    # the network between is the namespace's own: nobody else reaches it
    also_valkey = ["--bind", "127.0.0.1", far.valkey, "--protected-mode", "no"] if far else []
    also_s3 = ["--addr", f"{far.s3}:{s3_port}"] if far else []

    def part(name: str, command: list[str], ready: Callable[[float], bool]) -> Part:
        return Part(name=name, command=command, environment=environment, folder=folder, ready=ready)

    direct = stack.enter_context(redis.Redis(port=valkey_port, decode_responses=True))
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": secret, "region_name": "us-east-1"}
    bucket = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{s3_port}", config=config, **keys)
    stack.callback(bucket.close)
    return House(
        folder=folder,
        environment=environment,
        valkey=part("valkey", [*valkey_command(folder=folder / "valkey", port=valkey_port), *also_valkey], lambda _: _pings(direct)),
        s3=part("s3", [*rclone_command(folder=folder / "objects", port=s3_port), *also_s3], lambda _: _listens(s3_port)),
        far=far,
        there=there,
        to_valkey=to_valkey,
        to_s3=to_s3,
        api=part("api", [sys.executable, "-m", "service.main"], lambda _: _listens(api_port)),
        redis=direct,
        bucket=bucket,
        client=stack.enter_context(Client(f"http://127.0.0.1:{api_port}")),
    )


def _listens(port: int) -> bool:
    with suppress(TimeoutError):
        wait_for_port(port, seconds=0)
        return True
    return False


def _pings(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.ping())
    return False

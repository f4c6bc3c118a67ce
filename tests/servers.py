"""Real servers for tests, on free ports and in temporary folders, ended by pid."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from service.local import rclone_command, rclone_environment, valkey_command, wait_for_port


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def process(command: list[str], *, cwd: Path, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with (cwd / "server.log").open("wb") as log:
        child = subprocess.Popen(command, cwd=cwd, env=os.environ | (environment or {}), stdout=log, stderr=subprocess.STDOUT)
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextmanager
def running_valkey(folder: Path) -> Iterator[str]:
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    with process(valkey_command(folder=folder, port=port), cwd=folder):
        wait_for_port(port, seconds=20)
        url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        yield url


@dataclass(frozen=True)
class S3Server:
    endpoint_url: str
    access_key: str
    secret_key: str
    root: Path

    def environment(self) -> dict[str, str]:
        return {"S3_ENDPOINT_URL": self.endpoint_url, "AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


@contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    port = free_port()
    root = folder / "objects"
    root.mkdir(parents=True, exist_ok=True)
    access, secret = "test", secrets.token_hex(16)
    with process(rclone_command(folder=root, port=port), cwd=folder, environment=rclone_environment(access, secret)):
        wait_for_port(port, seconds=20)
        yield S3Server(endpoint_url=f"http://127.0.0.1:{port}", access_key=access, secret_key=secret, root=root)

"""Real servers for tests, on free ports and in temporary folders, ended by pid."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from service.local import rclone_command, rclone_environment, valkey_command, wait_for_port
from service.redis_users import BROKER_USER, STORE_USER, acl_lines


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
class GuardedValkey:
    """A Valkey that lets in by name and password only: the two users of `redis_users`, and the tests' own."""

    port: int
    host: str = "127.0.0.1"
    store_password: str = field(default_factory=lambda: secrets.token_hex(16))
    broker_password: str = field(default_factory=lambda: secrets.token_hex(16))
    admin_password: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def store_url(self) -> str:
        return f"redis://{STORE_USER}:{self.store_password}@{self.host}:{self.port}/0"

    @property
    def broker_url(self) -> str:
        return f"redis://{BROKER_USER}:{self.broker_password}@{self.host}:{self.port}/0"

    @property
    def admin_url(self) -> str:
        return f"redis://admin:{self.admin_password}@{self.host}:{self.port}/0"

    def acl_file(self, folder: Path) -> Path:
        """As an operator would write it."""
        lines = [*acl_lines(store_password=self.store_password, broker_password=self.broker_password)]
        path = folder / "users.acl"
        path.write_text("\n".join([*lines, f"user admin on >{self.admin_password} ~* &* +@all"]) + "\n")
        return path


@contextmanager
def guarded_valkey(folder: Path) -> Iterator[GuardedValkey]:
    folder.mkdir(parents=True, exist_ok=True)
    server = GuardedValkey(port=free_port())
    command = [*valkey_command(folder=folder, port=server.port), "--aclfile", str(server.acl_file(folder))]
    with process(command, cwd=folder):
        wait_for_port(server.port, seconds=20)
        yield server


@dataclass(frozen=True)
class S3Server:
    endpoint_url: str
    access_key: str
    secret_key: str
    root: Path

    def environment(self) -> dict[str, str]:
        return {"S3_ENDPOINT_URL": self.endpoint_url, "AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


@contextmanager
def running_s3(folder: Path, *options: str) -> Iterator[S3Server]:
    """Rclone's."""
    port = free_port()
    root = folder / "objects"
    root.mkdir(parents=True, exist_ok=True)
    access, secret = "test", secrets.token_hex(16)
    command = [*rclone_command(folder=root, port=port), *options]
    with process(command, cwd=folder, environment=rclone_environment(access, secret)):
        wait_for_port(port, seconds=20)
        yield S3Server(endpoint_url=f"http://127.0.0.1:{port}", access_key=access, secret_key=secret, root=root)


@contextmanager
def running_nanio(folder: Path) -> Iterator[S3Server]:
    """Another implementation of S3, written by other people in another language: where rclone is lenient it is not, and the other way round."""
    port, root = free_port(), folder / "nanio"
    root.mkdir(parents=True, exist_ok=True)
    access, secret = "test", secrets.token_hex(16)
    (root / "options.toml").write_text(f'[[users]]\naccess_key = "{access}"\nsecret_key = "{secret}"\n')
    command = [sys.executable, "-m", "nanio", "serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(root / "data")]
    with process([*command, "--options", str(root / "options.toml")], cwd=root):
        wait_for_port(port, seconds=30)
        yield S3Server(endpoint_url=f"http://127.0.0.1:{port}", access_key=access, secret_key=secret, root=root / "data")

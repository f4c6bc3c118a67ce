"""`trainyard doctor`: what this machine has, and what would help where it has not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from service.client.errors import ClientError
from service.client.sdk import Client
from service.local import CannotStart, rclone_command, valkey_command


@dataclass(frozen=True)
class Finding:
    """One check: is it well, what was seen, and what would help."""

    name: str
    ok: bool
    seen: str
    cure: str = ""


def examine(client: Client) -> Iterator[Finding]:
    """Every check, in the order in which to mend."""
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "Use Python 3.11 or newer.")
    for name in ("torch", "torchvision", "safetensors", "scikit-learn"):
        yield _package(name)
    yield _binary("Valkey", lambda: valkey_command(folder=Path(), port=0, password=None)[0])
    yield _binary("rclone", lambda: rclone_command(folder=Path(), port=0, access_key="", secret_key="")[0])  # no secret
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding("disk", free > 2, f"{free:.1f} GB free", "Free some space: data sets and checkpoints need it.")
    datasets = os.environ.get("TRAINYARD_DATASETS_DIR")
    there = datasets is None or Path(datasets).is_dir()
    yield Finding(
        "data sets", there, datasets or "TRAINYARD_DATASETS_DIR is not set: downloads", "Point TRAINYARD_DATASETS_DIR at a folder."
    )
    try:
        parts = client.ready()["parts"]
        bad = {name: state for name, state in parts.items() if state != "ok" and name != "workers"}
        yield Finding(
            "service",
            not bad,
            f"{client.url}: {bad or 'ready'}, {parts['workers']} worker(s)",
            "Look at the logs of the part that is named.",
        )
    except ClientError as error:
        yield Finding("service", False, str(error), "Start one with `trainyard up`, or set TRAINYARD_URL.")


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", "Run `make install`, or pip install 'trainyard[worker]'.")


def _binary(name: str, find: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, find())
    except CannotStart as error:
        return Finding(name, False, "not found", str(error))

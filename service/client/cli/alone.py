"""`trainyard run`: train here, without any service. Starts the worker's code as a child process, and never imports torch itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Annotated, Any

import typer

import service
from service.client.cli.app import Panel, app, command, hint, note
from service.client.cli.files import places
from service.client.cli.following import ENDS
from service.client.cli.printing import err, latest, show_faults, show_json, show_warnings
from service.client.cli.session import said
from service.client.cli.submitting import Label, Name, Set, SpecFile, told
from service.client.errors import Rejected
from service.client.follow import Display, display
from service.client.words import size

STOP_SECONDS = 20
"""How long a run that was told to stop may take before it is killed."""


class Device(StrEnum):
    """Where to train."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


class Missing(Exception):
    """A part of the installation that training needs."""


@command(
    app,
    "trainyard run job.yaml",
    "trainyard run job.yaml -o model --set optimizer.lr=0.01",
    "TRAINYARD_DATASETS_DIR=~/data trainyard run mnist.yaml --json",
    panel=Panel.HERE,
    shared=("quiet", "as_json"),
)
def run(
    file: SpecFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the artifacts; the job's id where none is named.", show_default=False)
    ] = None,
    set: Set = None,
    name: Name = None,
    label: Label = None,
    device: Annotated[Device, typer.Option("--device", help="Where to train.")] = Device.AUTO,
) -> None:
    """Train a job spec on this machine, without any service: the same check, the same weights, the same files as a job's. Ctrl-C stops it."""
    spec = told(file, set, name, label)
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise typer.BadParameter(f"{output} is there already, and not empty.", param_hint="--output")
    if find_spec("torch") is None:
        raise_missing("torch is not installed. Run `make install`, or pip install 'trainyard[worker]'.")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as words:
        child = _Child(words)
        try:
            job, folder = _trained(child, spec, output, file, device)
        except KeyboardInterrupt:
            note("Stopping ...")
            child.stop()
            err.print("Stopped; nothing was written.")
            raise
        finally:
            child.stop()
    _tell_end(job, folder)
    raise typer.Exit(ENDS[job["state"]])


def raise_missing(why: str) -> None:
    """Say what is missing, and end with 1."""
    err.print(f"trainyard: {why}")
    hint(("All that is missing", "trainyard doctor"))
    raise typer.Exit(1)


class _Child:
    """The worker's side, seen from here: `python -m worker.alone` in a session of its own, so that Ctrl-C is ours to answer."""

    def __init__(self, words: IO[str]) -> None:
        self._words = words
        ours = str(Path(service.__file__).parent.parent)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))}
        # -P: the working folder is the user's, and a `worker.py` in it must not come first
        command = [sys.executable, "-P", "-c", "import sys, worker.alone as alone; sys.exit(alone.main())"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=environment, text=True, start_new_session=True
        )

    def ask(self, order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What it says, until it ends. Raises Missing where it ends without a word."""
        assert self._process.stdin is not None  # noqa: S101  # Popen was given PIPE
        assert self._process.stdout is not None  # noqa: S101  # as above
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            yield json.loads(line)
        self._words.seek(0)
        last = "\n".join(self._words.read().splitlines()[-8:])
        raise Missing(f"Training ended without a word (exit status {self._process.wait()}). {last}".rstrip())

    def stop(self) -> None:
        """Let it end, cleanly where it does so soon."""
        assert self._process.stdin is not None  # noqa: S101  # as above
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _trained(child: _Child, spec: Mapping[str, Any], output: Path | None, file: Path, device: Device) -> tuple[dict[str, Any], Path]:
    """The job once it has ended, and the folder with what came of it."""
    with tempfile.TemporaryDirectory(prefix=".trainyard-", dir=_parent(output)) as aside:
        said_by = child.ask({"spec": spec, "output": str(Path(aside, "job")), "device": None if device is Device.AUTO else device.value})
        try:
            job = _shown(said_by, file)
        except Missing as error:
            raise_missing(str(error))
        folder = output or Path(job["id"])
        if Path(aside, "job").exists():
            if folder.exists():
                folder.rmdir()  # it was empty when we began
            Path(aside, "job").rename(folder)
    return job, folder


def _parent(output: Path | None) -> Path:
    parent = Path() if output is None else output.parent
    parent.mkdir(parents=True, exist_ok=True)
    return parent


def _shown(said_by: Iterator[dict[str, Any]], file: Path) -> dict[str, Any]:
    """The ended job, shown while it runs. Raises Missing."""
    note("Checking the spec ...")
    job = _begun(next(said_by), file)
    if said.quiet:
        return next(message["ended"] for message in said_by if "ended" in message)
    with display(err, epochs=job["spec"]["epochs"]) as shown:
        return _to_the_end(said_by, shown)


def _begun(first: Mapping[str, Any], file: Path) -> dict[str, Any]:
    if "missing" in first:
        raise Missing(first["missing"])
    if "faults" in first:
        err.print(f"trainyard: The spec has {len(first['faults'])} fault(s).")
        show_faults(first["faults"], places(file))
        raise typer.Exit(Rejected.exit_code)
    if not said.quiet:
        show_warnings(first["job"]["warnings"])
    return dict(first["job"])


def _to_the_end(said_by: Iterator[dict[str, Any]], shown: Display) -> dict[str, Any]:
    for message in said_by:
        if "event" in message:
            shown.heard(message["event"])
        elif "progress" in message:
            shown.moved(message["progress"])
        elif "missing" in message:
            raise Missing(message["missing"])
        else:
            return dict(message["ended"])
    raise AssertionError("a child that ends without a word raises Missing")


def _tell_end(job: Mapping[str, Any], folder: Path) -> None:
    if job["error"]:
        err.print(f"{job['state']}: {job['error']['message']} {job['error']['hint'] or ''}".rstrip())
        hint(("Its log", str(folder / "logs.txt")))
    if said.as_json:
        show_json({**job, "folder": str(folder) if folder.exists() else None})
    elif job["state"] == "succeeded":
        print(f"{folder} {latest(job['metrics'])}".rstrip())
        files = [path for path in folder.rglob("*") if path.is_file()]
        note(f"{len(files)} files, {size(sum(path.stat().st_size for path in files))}, in {folder}")
        hint(("The textbook's program for the same weights", str(folder / "train.py")))

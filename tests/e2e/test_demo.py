"""`trainyard demo` and `trainyard up` as a user runs them: real processes, none of which stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.client.sdk import Client
from service.local import free_port
from tests.e2e.stack import ROOT, children, end, until

TRAINYARD = [sys.executable, "-m", "service.client.cli"]
SPEC = {
    "dataset": "Digits",
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "Adam", "lr": 0.01},
    "epochs": 1,
}


@pytest.fixture
def marked(tmp_path: Path) -> dict[str, str]:
    """An environment that every process started from it inherits, and by which it can be found."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "AWS_", "S3_", "REDIS_"))}
    return own | {"TRAINYARD_TEST_MARK": uuid.uuid4().hex, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}


def left_over(environment: dict[str, str]) -> list[int]:
    """The living processes that carry the mark, dead ones that nobody reaped aside."""
    mark, found = f"TRAINYARD_TEST_MARK={environment['TRAINYARD_TEST_MARK']}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


@contextmanager
def up(folder: Path, port: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`trainyard up`, once it has said that it serves."""
    command = [*TRAINYARD, "up", "--port", str(port), "--data-dir", str(folder / "data"), "--threads", "1"]
    said = folder / "up.log"
    with said.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: b"serves at" in said.read_bytes() or process.poll() is not None, seconds=90)
        assert process.poll() is None, said.read_text()
        yield process
    finally:
        end(process)


def test_the_demo_trains_and_leaves_nothing_running(tmp_path: Path, marked: dict[str, str]) -> None:
    """`trainyard demo` exits 0, prints an accuracy of 0.95 or more and the folder, and leaves neither a process nor its data."""
    output = tmp_path / "out"

    ran = subprocess.run(
        [*TRAINYARD, "demo", "-o", str(output)], cwd=tmp_path, env=marked, capture_output=True, text=True, check=False, timeout=240
    )

    assert ran.returncode == 0, ran.stderr
    accuracy, _, folder = ran.stdout.partition("\n")
    assert float(accuracy.split()[-1]) >= 0.95
    (job,) = output.iterdir()
    assert str(job) in folder
    assert {"model.safetensors", "train.py", "job.json", "resolved_spec.json"} <= {path.name for path in job.iterdir()}
    assert list(job.rglob("*.part")) == []
    assert "\x1b" not in ran.stdout + ran.stderr
    until(lambda: left_over(marked) == [], seconds=20)
    assert list(tmp_path.glob("trainyard-demo-*")) == []


def test_up_guards_its_port_and_folder_and_restarts_a_worker(tmp_path: Path, marked: dict[str, str]) -> None:
    """While `up` serves, a second one is refused, a killed worker comes back and trains; SIGTERM ends all with exit 0."""
    port = free_port()
    with up(tmp_path, port, marked) as process:
        same_port = [*TRAINYARD, "up", "--port", str(port), "--data-dir", str(tmp_path / "other")]
        same_folder = [*TRAINYARD, "up", "--port", str(free_port()), "--data-dir", str(tmp_path / "data")]
        for command, cure in ((same_port, "--port"), (same_folder, "--data-dir")):
            refused = subprocess.run(command, cwd=tmp_path, env=marked, capture_output=True, text=True, check=False, timeout=60)
            assert refused.returncode == 1
            assert cure in refused.stderr
            assert "Traceback" not in refused.stderr

        (worker,) = [pid for pid in children(process.pid) if b"worker.main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(worker, signal.SIGKILL)
        with Client(f"http://127.0.0.1:{port}") as client:
            job = client.wait(client.submit(SPEC)["id"], timeout=120)
        assert job["state"] == "succeeded"

        process.terminate()
        assert process.wait(60) == 0
    until(lambda: left_over(marked) == [], seconds=20)


def test_nothing_outlives_up(tmp_path: Path, marked: dict[str, str]) -> None:
    """When `up` itself is killed with -9, all that it started ends too."""
    with up(tmp_path, free_port(), marked) as process:
        assert len(left_over(marked)) > 4

        process.kill()
        process.wait()

        until(lambda: left_over(marked) == [], seconds=60)

"""Hostile modules as jobs of a running service: what they tell and leave ends them, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.adapters import bubblewrap
from tests.e2e.stack import Stack, running_stack, until
from tests.servers import S3Server

pytestmark = pytest.mark.skipif(bubblewrap.unavailable() is not None, reason=str(bubblewrap.unavailable()))

HOSTILE = Path(__file__).parents[1] / "hostile"
LONG = os.environ.get("TRAINYARD_LONG_TESTS") == "1"
SECRET = "the-secret-of-another"
MIB = 2**20
LIES = (
    "of another's folder",
    "of the way up",
    "of a linked folder",
    "of results elsewhere",
    "of linked results",
    "of a step that is none",
    "of a step beyond all numbers",
    "of epochs beyond its last",
    "of a metric's name",
    "of a metric that steers a terminal",
    "of a reason that is none",
    "of a plan that is none",
    "in brackets",
)
LITTER = ("link", "linked folder", "pipe", "socket", "name turned round", "newline", "no text", "many", "sparse", "deep")


@pytest.fixture(scope="module")
def worked(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service with a worker, for all tests here."""
    with running_stack(tmp_path_factory.mktemp("hostile"), redis_url=valkey_url, s3=s3.environment()) as stack:
        stack.start_worker()
        yield stack


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of somebody else's, which the worker can read and empty."""
    (tmp_path / "trainyard-secret-marker.txt").write_text(SECRET)
    return tmp_path


def spec(name: str, **arguments: str) -> dict[str, Any]:
    """A job with that module."""
    return {
        "dataset": {"type": "Digits", "limit": 200},
        "model": {"type": "Module", "class_name": "Net", "code": (HOSTILE / f"{name}.py").read_text(), "kwargs": arguments},
        "loss": "CrossEntropyLoss",
        "optimizer": "SGD",
        "epochs": 1,
    }


def stored(s3: S3Server, job_id: str) -> dict[str, bytes]:
    """All that is in storage of a job."""
    paths = (path for path in s3.root.rglob("*") if path.is_file() and job_id in path.parts)
    return {path.as_posix(): path.read_bytes() for path in paths}


def assert_harmless(job: Any, theirs: Path, s3: S3Server) -> None:
    """The user's fault, with nothing of the others taken or removed."""
    assert (job["state"], job["reason"]) == ("failed", "user_code"), job
    assert job["retries"] == 0
    assert (theirs / "trainyard-secret-marker.txt").read_text() == SECRET
    assert not any(SECRET.encode() in content for content in stored(s3, job["id"]).values())


@pytest.mark.parametrize("lie", LIES if LONG else LIES[1:3])
def test_what_a_trainer_tells_is_not_believed(lie: str, worked: Stack, theirs: Path, s3: S3Server):
    """It has the pipe to its supervisor in its hands, and what it says there is no order."""
    job = worked.client.wait(worked.client.submit(spec("lie_in_facts", lie=lie, theirs=str(theirs)))["id"], timeout=120)

    assert_harmless(job, theirs, s3)


@pytest.mark.parametrize("litter", LITTER if LONG else LITTER[-2:])
def test_what_a_job_leaves_is_looked_at_before_it_is_kept(litter: str, worked: Stack, theirs: Path, s3: S3Server):
    """Nothing is uploaded that is no plain file, and all of it is removed from the worker."""
    job = worked.client.wait(worked.client.submit(spec("litter_results", litter=litter, theirs=str(theirs)))["id"], timeout=120)

    assert_harmless(job, theirs, s3)
    attempts = Path(worked.environment["TRAINYARD_WORK_DIR"]) / "attempts"
    until(lambda: not [path for path in attempts.glob("*/*") if job["id"] in path.name], seconds=30)


def test_who_tells_without_end_can_be_cancelled_and_fills_no_memory(worked: Stack):
    """A megabyte a line, as fast as the pipe takes it."""
    job = worked.client.submit(spec("lie_in_facts", lie="without end"))
    worker = worked.workers[0].pid
    until(lambda: "xxx" in worked.client.logs(job["id"]), seconds=60)

    peak = resident(worker)
    worked.client.cancel(job["id"])

    assert worked.client.wait(job["id"], timeout=30)["state"] == "cancelled"
    assert max(peak, resident(worker)) < 1024 * MIB


def resident(pid: int) -> int:
    """The most memory that a process ever held."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

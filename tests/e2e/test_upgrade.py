"""Processes of two versions on one store: an API and workers from trees of their own, older or newer than this one."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from service.spec.job import SPEC_VERSION
from tests.e2e import stack as stacks
from tests.e2e.stack import ROOT, Stack, end, running_stack, until
from tests.servers import S3Server

EARLIER = "9f320d1"
"""The first commit whose processes may stand beside later ones."""
NEWER = {
    "service/jobs/job.py": {"    version: int = 1\n": "    carbon_grams: float = 0.0\n    version: int = 1\n"},
    "service/adapters/redis_records.py": {
        '        "max_retries": str(job.max_retries),\n': '        "max_retries": str(job.max_retries),\n        "carbon_grams": "1.5",\n',
        '        state=text["state"],\n': '        state=text["state"],\n        carbon_grams=json.loads(text.get("carbon_grams", "0")),\n',
    },
    "service/spec/verdict.py": {
        '    pointer: str = ""\n    code: str\n': '    pointer: str = ""\n    learn_more: str = "/docs/warnings"\n    code: str\n'
    },
    "service/jobs/ports/workers.py": {"    held_uploads: int = 0\n": "    humidity_percent: int = 40\n    held_uploads: int = 0\n"},
    "service/spec/job.py": {f"SPEC_VERSION = {SPEC_VERSION}\n": f"SPEC_VERSION = {SPEC_VERSION + 1}\n"},
}
"""What another version might add: a fact of a job, of a warning, of a worker's beat, and a key of specs."""
OLDER = {"service/spec/job.py": {f"SPEC_VERSION = {SPEC_VERSION}\n": f"SPEC_VERSION = {SPEC_VERSION - 1}\n"}}
Tree = Callable[[Mapping[str, Mapping[str, str]]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Makes another version of this code: a copy with these texts in place of those."""

    def make(changes: Mapping[str, Mapping[str, str]]) -> Path:
        folder = tmp_path / "tree"
        for name in ("service", "worker"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name, texts in changes.items():
            text = (folder / name).read_text()
            for old, new in texts.items():
                assert text.count(old) == 1, (name, old)
                text = text.replace(old, new)
            (folder / name).write_text(text)
        return folder

    return make


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The code of an earlier commit."""
    asked = ["git", "-C", str(ROOT), "archive", EARLIER, "service", "worker"]
    told = subprocess.run(asked, capture_output=True, check=False)
    if told.returncode:
        pytest.skip(f"no history here: {told.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(told.stdout)) as archive:
        archive.extractall(tmp_path / "earlier", filter="data")
    return tmp_path / "earlier"


@pytest.fixture
def worker_of(stack: Stack) -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Starts a worker of another tree beside the file's API."""
    started = list[subprocess.Popen[bytes]]()

    def start(folder: Path) -> subprocess.Popen[bytes]:
        before = int(stack.client.ready()["parts"]["workers"])
        command = [sys.executable, "-m", "worker.main", "--device", "cpu", "--name", f"other-{len(started)}"]
        with (folder / "worker.log").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=folder, env=stack.environment, stdout=log, stderr=log, start_new_session=True))
        until(lambda: int(stack.client.ready()["parts"]["workers"]) > before or started[-1].poll() is not None, seconds=120)
        assert started[-1].poll() is None, (folder / "worker.log").read_text()
        return started[-1]

    yield start
    for each in started:
        end(each)


def test_a_job_waits_for_a_newer_worker_and_says_so(stack: Stack, small: dict[str, Any], tree: Tree, worker_of: Any):
    """An idle worker that does not know this version of specs leaves it alone, however often it is rung; a newer one takes it."""
    older = worker_of(tree(OLDER))

    job = stack.client.submit(small)["id"]
    until(lambda: stack.client.get(job)["reason"] == "waiting_for_worker", seconds=60)

    told = stack.client.get(job)
    assert told["state"] == "queued"
    (warning,) = told["warnings"]
    assert warning["code"] == "newer_spec"
    assert f"specs up to version {SPEC_VERSION - 1}" in warning["detail"]
    assert "Upgrade the workers" in warning["suggestion"]
    assert [worker["busy"] for worker in stack.client.workers()] == [0]

    stack.start_worker()
    ended = stack.client.wait(job, timeout=120)
    assert (ended["state"], ended["attempt"], ended["warnings"]) == ("succeeded", 1, [])
    assert older.poll() is None


def test_a_worker_of_an_earlier_commit_works_beside_this_api_and_this_worker(
    stack: Stack, small: dict[str, Any], earlier: Path, worker_of: Any
):
    """It trains, is told of, and goes on beating and sweeping though this version's worker beats otherwise."""
    older = worker_of(earlier)
    assert stack.client.wait(stack.client.submit(small)["id"], timeout=120)["state"] == "succeeded"

    stack.start_worker()
    jobs = [stack.client.submit({**small, "seed": seed})["id"] for seed in range(6)]
    assert {stack.client.wait(job, timeout=120)["state"] for job in jobs} == {"succeeded"}

    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as client:
        beaten = client.zscore("ty:workers", "other-0")
        until(lambda: client.zscore("ty:workers", "other-0") > beaten, seconds=30)
    assert older.poll() is None
    assert "Traceback" not in (earlier / "worker.log").read_text()
    assert {worker["name"] for worker in stack.client.workers()} == {"other-0", "w1"}


@pytest.mark.long
def test_a_newer_worker_works_beside_this_api(stack: Stack, small: dict[str, Any], tree: Tree, worker_of: Any):
    """Workers go first in an upgrade: what it tells besides is not read, and its jobs end well."""
    worker_of(tree(NEWER))

    assert stack.client.wait(stack.client.submit(small)["id"], timeout=120)["state"] == "succeeded"
    assert [worker["name"] for worker in stack.client.workers()] == ["other-0"]


@pytest.mark.long
def test_what_a_newer_api_wrote_is_there_after_an_older_worker_wrote_it_back(
    redis_url: str, s3: S3Server, small: dict[str, Any], tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Only the older one sweeps: the record that it saves, and the one that it puts away at the end, keep what it does not know."""
    newer = tree({name: texts for name, texts in NEWER.items() if name != "service/spec/job.py"})
    monkeypatch.setattr(stacks, "ROOT", newer)
    with running_stack(tmp_path, redis_url=redis_url, s3=s3.environment(), TRAINYARD_SWEEP_SECONDS="3600") as running:
        monkeypatch.setattr(stacks, "ROOT", ROOT)
        job = running.client.submit({**small, "model": {"type": "Sequential", "layers": [*small["model"]["layers"], "Softmax"]}})["id"]
        running.environment["TRAINYARD_SWEEP_SECONDS"] = "0.5"
        running.start_worker()
        ended = running.client.wait(job, timeout=120)
        with redis.Redis.from_url(redis_url) as client:
            until(lambda: client.exists(f"ty:job:{job}:ended"), seconds=30)

        again = running.client.get(job)
        record = json.loads((s3.root / "trainyard" / "projects" / "default" / "jobs" / job / "job.json").read_bytes())

    assert ended["state"] == again["state"] == "succeeded"
    assert record["carbon_grams"] == 1.5
    for told in (record, again):
        assert {warning["learn_more"] for warning in told["warnings"]} == {"/docs/warnings"}


@pytest.fixture
def newer_format(redis_url: str) -> Iterator[None]:
    """The store says that a newer version wrote it; the tests after this one find it as it was."""
    with redis.Redis.from_url(redis_url) as client:
        client.set("ty:format", 2)
        yield
        client.delete("ty:format")


@pytest.mark.usefixtures("newer_format")
def test_a_store_of_a_newer_format_is_not_touched(redis_url: str, s3: S3Server):
    """API, worker, rebuild and the rest end at once, with one line that has the cure."""
    for module in ("service.main", "worker.main", "service.rebuild", "service.gc"):
        environment = {"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path), "REDIS_URL": redis_url, **s3.environment()}
        done = subprocess.run(
            [sys.executable, "-m", module], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

        assert done.returncode == 1, module
        (line,) = done.stderr.splitlines()
        assert "keys of format 2; this version of Trainyard knows 1" in line
        assert "docs/howto/upgrade.md" in line

"""The command as people use it, with real processes: run, follow over a restarted API, Ctrl-C in a real terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from service.local import wait_for_port
from service.spec import EXAMPLES
from service.spec.text import parse_body
from tests.e2e.stack import ROOT, Stack, children, end, until
from tests.terminal import COLUMNS, in_a_row, in_terminal

TRAINYARD = [sys.executable, "-m", "service.client.cli"]


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    """What the command is told: the test's own service, and no file of the user's."""
    return stack.environment | {"TRAINYARD_URL": stack.client.url, "XDG_CONFIG_HOME": str(stack.folder / "config"), "PYTHONPATH": str(ROOT)}


def written(folder: Path, spec: dict) -> Path:
    """A job.json."""
    file = folder / "job.json"
    file.write_text(json.dumps(spec))
    return file


def trainyard(*arguments: str, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRAINYARD, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=240)


def files(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file, by its path."""
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


CUSTOM = parse_body((EXAMPLES / "digits-custom-module.yaml").read_bytes(), "application/yaml") | {"epochs": 1}


@pytest.mark.parametrize("kind", ["layers", pytest.param("code of one's own", marks=pytest.mark.long)])
def test_run_gives_what_a_job_gives(stack: Stack, long: dict, environment: dict[str, str], tmp_path: Path, kind: str):
    """`run` without any service in sight ends with the weights of the same spec as a job, and the very files of it."""
    spec = CUSTOM if kind == "code of one's own" else long | {"epochs": 2}
    stack.have_worker()
    job = stack.client.wait(stack.client.submit(spec)["id"], timeout=120)
    stack.client.download(job["id"], tmp_path / "there")
    nowhere = environment | {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "TRAINYARD_URL": "http://127.0.0.1:1",
    }

    ran = trainyard("run", str(written(tmp_path, spec)), "-o", "here", environment=nowhere, cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr
    here, there = files(tmp_path / "here"), files(tmp_path / "there")
    assert here.keys() - {name for name in here if "tfevents" in name} == there.keys() - {name for name in there if "tfevents" in name}
    assert here["model.safetensors"] == there["model.safetensors"]
    assert here["train.py"] == there["train.py"]
    assert ran.stdout == f"here test_accuracy {job['metrics']['test_accuracy']:.4f}\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".trainyard")) == []


def test_a_spec_that_cannot_train_is_refused_here_too(environment: dict[str, str], tmp_path: Path):
    """`run` exits 3 with every fault at its line, also those that only building the model shows; it leaves nothing."""
    file = tmp_path / "job.yaml"
    file.write_text(
        "dataset: Digits\nmodel:\n  type: Sequential\n  layers:\n    - {type: Linear, in_features: 7, out_features: 10}\nloss: CrossEntropyLoss\noptimizer: {type: SGD, lrr: 1}\nepochs: 1\n"
    )

    ran = trainyard("run", str(file), environment=environment, cwd=tmp_path)

    assert (ran.returncode, ran.stdout) == (3, "")
    assert f"{file}:7: /optimizer/lrr: " in ran.stderr
    assert f"{file}:5: /model/layers/0" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


def test_what_a_failed_run_leaves_says_why(environment: dict[str, str], tmp_path: Path):
    """A run whose own code raises exits 1, and its folder holds the log with the trace."""
    failing = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.calls = nn.Linear(64, 10), 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 20:
            raise ValueError("not today")
        return self.head(x.flatten(1))
"""
    spec = CUSTOM | {"model": {"type": "Module", "class_name": "Net", "code": failing}}

    ran = trainyard("run", str(written(tmp_path, spec)), "-o", "out", environment=environment, cwd=tmp_path)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert "failed: ValueError: not today" in ran.stderr
    assert "out/logs.txt" in ran.stderr
    assert "not today" in (tmp_path / "out" / "logs.txt").read_text()


def test_uploads_are_for_services(environment: dict[str, str], small: dict, tmp_path: Path):
    """`run` of a spec with uploaded data says that they lie with a service."""
    ran = trainyard(
        "run", str(written(tmp_path, small | {"dataset": {"type": "Upload", "name": "flowers"}})), environment=environment, cwd=tmp_path
    )

    assert ran.returncode == 3
    assert "/dataset/type: Uploaded data lie with a service" in ran.stderr


@pytest.mark.long
def test_ctrl_c_ends_a_run_and_all_that_it_started(environment: dict[str, str], long: dict, tmp_path: Path):
    """In a terminal: the bar shows epochs; Ctrl-C stops it with exit 130; no process and no file is left."""
    command = [*TRAINYARD, "run", str(written(tmp_path, long | {"epochs": 2000})), "-o", "out"]
    with in_terminal(command, environment=environment, cwd=tmp_path) as terminal:
        seen = terminal.until(lambda seen: re.search(r"epoch [1-9]\d*/2000", seen) is not None, seconds=120)
        (child,) = children(terminal.process.pid)
        grandchildren = children(child)
        terminal.press(b"\x03")
        code = terminal.ended()

    assert code == 130
    assert "val_loss" in seen
    assert "Stopped; nothing was written." in terminal.seen
    assert grandchildren
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (child, *grandchildren)), seconds=20)
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_nothing_outlives_a_run_that_is_killed(environment: dict[str, str], long: dict, tmp_path: Path):
    """Kill -9 of the command: the trainer and everything else that it started end by themselves, and clean up."""
    heard, work = tmp_path / "heard", tmp_path / "work"
    command = [*TRAINYARD, "run", str(written(tmp_path, long | {"epochs": 2000})), "-o", "out"]
    with heard.open("wb") as out:
        running = subprocess.Popen(command, cwd=tmp_path, env=environment | {"TRAINYARD_WORK_DIR": str(work)}, stdout=out, stderr=out)
    try:
        until(lambda: b"epoch 1:" in heard.read_bytes(), seconds=120)
        (child,) = children(running.pid)
        grandchildren = children(child)
    finally:
        running.kill()
        running.wait()

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (child, *grandchildren)), seconds=30)
    assert list(work.glob("alone-*")) == []
    assert not (tmp_path / "out").exists()


def test_ctrl_c_detaches_from_a_job_that_goes_on(stack: Stack, environment: dict[str, str], long: dict, tmp_path: Path):
    """In a terminal: Ctrl-C while following exits 130 and names the ways back and out; the job runs on."""
    stack.have_worker()
    command = [*TRAINYARD, "submit", str(written(tmp_path, long | {"epochs": 2000})), "--follow"]
    with in_terminal(command, environment=environment, cwd=tmp_path) as terminal:
        terminal.until(lambda seen: re.search(r"epoch [1-9]\d*/2000", seen) is not None, seconds=120)
        terminal.press(b"\x03")
        code = terminal.ended()

    (job,) = stack.client.page()["data"]
    assert code == 130
    assert f"trainyard watch {job['id']}" in terminal.seen
    assert f"trainyard cancel {job['id']}" in terminal.seen
    assert "Traceback" not in terminal.seen
    reached = stack.client.get(job["id"])["progress"]["epoch"]
    until(lambda: stack.client.get(job["id"])["progress"]["epoch"] > reached, seconds=60)
    stack.client.cancel(job["id"])


@pytest.mark.long
def test_what_commands_print_fits_the_terminal(stack: Stack, environment: dict[str, str], small: dict, long: dict, tmp_path: Path):
    """Of a service with jobs in every state: each command's output at 80 columns, without a traceback or a line that breaks in a word."""
    stack.start_worker()
    file = written(tmp_path, small | {"name": "a name that is longer than any column of a terminal would like it to be"})
    done, other = (stack.client.submit(json.loads(file.read_text()) | {"seed": seed})["id"] for seed in (1, 2))
    failed = stack.client.submit(small | {"dataset": {"type": "MNIST"}})["id"] if not (ROOT / "shared").exists() else done
    for job in (done, other):
        assert stack.client.wait(job, timeout=120)["state"] == "succeeded"
    running, waiting = (stack.client.submit(long | {"epochs": 100_000, "labels": {"a": "b"}})["id"] for _ in range(2))
    stack.until_event(running, "epoch")
    fitting = [
        *(["ls"], ["ls", "--label", "a=b"], ["queue"], ["workers"], ["storage"], ["config"], ["datasets", "ls"], ["examples"], ["catalog"]),
        *(
            ["catalog", "Resize"],
            ["catalog", "conv"],
            ["get", running],
            ["get", waiting],
            ["get", failed],
            ["metrics", done],
            ["metrics", running, "--plot"],
        ),
        *(
            ["metrics", done, "--per", "step"],
            ["compare", done, other],
            ["checkpoints", running],
            ["artifacts", done],
            ["events", done],
            ["open", done],
        ),
        *(
            ["spec", "show", str(file)],
            ["validate", str(file)],
            ["pause", waiting],
            ["resume", waiting],
            ["cancel", waiting, running],
            ["retry", waiting],
        ),
        *(
            ["download", done, "-o", "out"],
            ["submit", str(file)],
            ["rm", other, "--yes"],
            ["watch", done],
            ["events", done, "-f"],
            ["wait", done],
        ),
    ]
    longer = [["spec", "python", str(file)], ["spec", "resolve", str(file)], ["spec", "schema"], ["logs", done]]

    found = in_a_row([*fitting, *longer], folder=tmp_path, **{name: environment[name] for name in ("TRAINYARD_URL", "XDG_CONFIG_HOME")})

    for asked, code, lines in found:
        assert code == 0, (asked, lines)
        assert "Traceback" not in "\n".join(lines)
        assert asked in longer or [line for line in lines if len(line) > COLUMNS] == [], asked
    shown = {" ".join(asked): "\n".join(lines) for asked, _, lines in found}
    assert done in shown["ls"]
    assert waiting in shown["queue"]
    assert running in shown["workers"]
    assert "train_loss" in shown[f"metrics {done}"]
    assert "import torch" in shown[f"spec python {file}"]
    for job in stack.client.page(state=["queued", "running"])["data"]:
        stack.client.cancel(job["id"])


@contextmanager
def another_api(stack: Stack) -> Iterator[None]:
    """The API killed without warning, and a new one at the same address."""
    os.kill(stack.api_pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(stack.api_pid, 0)
    with (stack.folder / "api-2.log").open("wb") as log:
        api = subprocess.Popen([sys.executable, "-m", "service.main"], cwd=ROOT, env=stack.environment, stdout=log, stderr=log)
    try:
        wait_for_port(int(stack.environment["TRAINYARD_PORT"]), seconds=60, alive=lambda: api.poll() is None)
        yield
    finally:
        end(api)


@pytest.mark.long
def test_following_over_a_restarted_api_misses_nothing(stack: Stack, environment: dict[str, str], long: dict, tmp_path: Path):
    """`submit --follow` through the death of the API: each event once, in order, and the exit code of the job."""
    stack.start_worker()
    command = [*TRAINYARD, "submit", str(written(tmp_path, long)), "--follow"]
    heard = tmp_path / "heard"
    with heard.open("wb") as out:
        following = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=out)
    try:
        until(lambda: b"epoch 2:" in heard.read_bytes(), seconds=90)
        with another_api(stack):
            ended, _ = following.communicate(timeout=180)
            (job,) = stack.client.page()["data"]
            happened = stack.client.past_events(job["id"])
    finally:
        end(following)

    assert following.returncode == 0, heard.read_text()
    lines = [event["message"] or event["data"].get("phase") or event["data"]["state"] for event in happened]
    told = heard.read_text().splitlines()
    assert told[: len(lines)] == lines
    assert sum(line.startswith("epoch ") for line in told) == 40
    assert ended.decode().startswith(f"{job['id']} succeeded test_accuracy")

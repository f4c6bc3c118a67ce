"""The `trainyard` command against answers made up here: what it prints where, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.client.cli import following as cli_following
from tests.answers import EVENTS, JOB

Trainyard = Callable[..., int]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    file = tmp_path / "job.yaml"
    file.write_text("dataset: Digits\noptimizer: SGD\nepochs: 2\n")
    return str(file)


def says(state: str, **more: Any) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda _: httpx2.Response(200, json=JOB | {"state": state} | more)


def unanswered(_: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused")


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 6)])
def test_waiting_exits_as_the_job_ended(trainyard: Trainyard, state: str, code: int) -> None:
    """`wait` exits 0, 1 or 6 for a job that succeeded, failed or was cancelled."""
    assert trainyard("wait", "job_1", answer=says(state)) == code


def test_a_waiting_job_says_where_it_stands(trainyard: Trainyard, capsys: pytest.CaptureFixture[str]) -> None:
    """`get` shows the place in the queue, and the expected start where there is one."""
    trainyard("get", "job_1", answer=says("queued", queue_position=3, estimated_start_at="2026-11-25T12:00:00Z", metrics={}))

    assert capsys.readouterr().out.strip() == "job_1 queued, place 3, starts soon"


def test_waiting_too_long_has_a_code_of_its_own(trainyard: Trainyard, capsys: pytest.CaptureFixture[str]) -> None:
    """`wait --timeout` exits 7 when the time is up, says so on stderr, and prints no data."""
    assert trainyard("wait", "job_1", "--timeout", "0", answer=says("running")) == 7

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "job_1 is still running" in printed.err


@pytest.mark.parametrize(
    "command",
    [
        ("get", "x"),
        ("wait", "x"),
        ("events", "x"),
        ("logs", "x"),
        ("metrics", "x"),
        ("artifacts", "x"),
        ("download", "x"),
        *((each, "x") for each in ("cancel", "pause", "resume", "retry", "rm")),
    ],
)
def test_an_unknown_job_exits_4(trainyard: Trainyard, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """Every command on a job that does not exist exits 4 with one line on stderr."""
    assert trainyard(*command, answer=lambda _: httpx2.Response(404, json={"detail": "There is no job x."})) == 4

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.strip() == "trainyard: There is no job x."


def test_a_service_that_does_not_answer_exits_5(trainyard: Trainyard, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody there: exit 5, with the address and the cure."""
    assert trainyard("ls", answer=unanswered) == 5

    message = " ".join(capsys.readouterr().err.split())
    assert "http://trainyard.test" in message
    assert "make up" in message


def test_a_rejected_spec_shows_every_fault(trainyard: Trainyard, capsys: pytest.CaptureFixture[str], spec: str) -> None:
    """A refused submit exits 3 and prints each fault with pointer, sentence and suggestion."""
    faults = [
        {"pointer": "/optimizer/learning_rate", "detail": "is not known.", "suggestion": "Did you mean lr?"},
        {"pointer": "/model", "detail": "is missing.", "suggestion": None},
    ]
    refusal = {"type": "/problems/spec-rejected", "detail": "The spec has 2 faults.", "errors": faults}

    assert trainyard("submit", spec, answer=lambda _: httpx2.Response(422, json=refusal)) == 3

    printed = capsys.readouterr()
    assert printed.out == ""
    for word in ("/optimizer/learning_rate", "is not known.", "Did you mean lr?", "/model", "is missing."):
        assert word in printed.err


def test_validate_says_no_with_the_same_code(trainyard: Trainyard, capsys: pytest.CaptureFixture[str], spec: str) -> None:
    """`validate --json` of a bad spec exits 3, with the whole verdict as JSON on stdout."""
    verdict = {"valid": False, "errors": [{"pointer": "/loss", "detail": "is missing.", "suggestion": None}], "warnings": []}

    assert trainyard("validate", spec, "--json", answer=lambda _: httpx2.Response(200, json=verdict)) == 3
    assert json.loads(capsys.readouterr().out) == verdict


def test_a_file_that_is_not_a_spec_exits_3(trainyard: Trainyard, tmp_path: Path) -> None:
    """Text that is no YAML object is refused here, before anyone is asked."""
    file = tmp_path / "bad.yaml"
    file.write_text("dataset: [unclosed")

    assert trainyard("submit", str(file), answer=unanswered) == 3


def test_a_missing_file_and_a_missing_argument_are_usage(trainyard: Trainyard, tmp_path: Path) -> None:
    """A file that is not there, an option that is not known, a change without '=': exit 2."""
    spec = tmp_path / "job.yaml"
    spec.write_text("epochs: 1")

    assert trainyard("submit", str(tmp_path / "none.yaml"), answer=unanswered) == 2
    assert trainyard("get", answer=unanswered) == 2
    assert trainyard("ls", "--colour", answer=unanswered) == 2
    assert trainyard("submit", str(spec), "--set", "epochs", answer=unanswered) == 2


def test_submit_prints_the_id_and_nothing_else(trainyard: Trainyard, capsys: pytest.CaptureFixture[str], spec: str) -> None:
    """Stdout of `submit` is the id, so that a shell can keep it; advice goes to stderr."""
    assert trainyard("submit", spec, answer=says("queued")) == 0

    printed = capsys.readouterr()
    assert printed.out == "job_1\n"
    assert "trainyard watch job_1" in " ".join(printed.err.split())


def test_submit_sends_what_was_changed(trainyard: Trainyard, spec: str) -> None:
    """`--set` reaches into the spec with YAML values, opens a bare name, and `--name` names the job."""
    sent: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(202, json=JOB)

    changes = ["--set", "optimizer.lr=1e-3", "--set", "epochs=7", "--set", "training.deterministic=false"]
    assert trainyard("submit", spec, *changes, "--name", "a: b", answer=answer) == 0
    assert sent == [
        {"dataset": "Digits", "optimizer": {"type": "SGD", "lr": 0.001}, "epochs": 7, "training": {"deterministic": False}, "name": "a: b"}
    ]


def following(request: httpx2.Request) -> httpx2.Response:
    if request.url.path.endswith("/events"):
        text = "".join(f"id: {event['id']}\ndata: {json.dumps(event)}\n\n" for event in EVENTS)
        return httpx2.Response(200, text=text, headers={"Content-Type": "text/event-stream"})
    return httpx2.Response(200, json=JOB)


def test_following_off_a_terminal_is_plain_lines(trainyard: Trainyard, capsys: pytest.CaptureFixture[str], spec: str) -> None:
    """`submit --follow` writes a line per event to stderr without any escape code, and the summary to stdout."""
    assert trainyard("submit", spec, "--follow", answer=following) == 0

    printed = capsys.readouterr()
    assert printed.err.splitlines()[:3] == ["training", "epoch 1/1 train_loss 0.5", "succeeded"]
    assert "\x1b" not in printed.err
    assert printed.out == "job_1 succeeded test_accuracy 0.9625\n"


def test_ctrl_c_detaches_and_says_how_to_come_back(
    trainyard: Trainyard, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    """An interrupt while following exits 130, cancels nothing, and names the commands to watch and to stop."""
    asked: list[str] = []

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(202, json=JOB | {"state": "queued"})

    monkeypatch.setattr(cli_following, "follow", interrupted)

    assert trainyard("submit", spec, "--follow", answer=answer) == 130

    message = " ".join(capsys.readouterr().err.split())
    assert "trainyard watch job_1" in message
    assert "trainyard cancel job_1" in message
    assert asked == ["/v1/jobs"]


@pytest.mark.parametrize(
    ("command", "answered"),
    [
        (("get", "job_1"), JOB),
        (("wait", "job_1"), JOB),
        *(((each, "job_1"), JOB) for each in ("cancel", "pause", "resume", "retry")),
        (("ls",), {"data": [JOB], "next_cursor": None}),
    ],
)
def test_json_is_the_answer_itself(
    trainyard: Trainyard, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], answered: dict[str, Any]
) -> None:
    """With --json, stdout is one JSON document: what the service said."""
    assert trainyard(*command, "--json", answer=lambda _: httpx2.Response(200, json=answered)) == 0
    assert json.loads(capsys.readouterr().out) == answered


@pytest.mark.parametrize(
    ("command", "asked", "answer", "said"),
    [
        ("cancel", "POST /v1/jobs/job_1/cancel", {"state": "running"}, "job_1 running, stopping"),
        ("pause", "POST /v1/jobs/job_1/pause", {"state": "running"}, "job_1 running, pausing"),
        ("pause", "POST /v1/jobs/job_1/pause", {"state": "paused"}, "job_1 paused"),
        ("resume", "POST /v1/jobs/job_1/resume", {"state": "queued"}, "job_1 queued"),
        ("retry", "POST /v1/jobs/job_1/retry", {"id": "job_2", "state": "queued", "retry_of": "job_1"}, "job_2 queued, a retry of job_1"),
        ("rm", "DELETE /v1/jobs/job_1", None, "job_1 removed"),
    ],
)
def test_asking_says_what_came_of_it(
    trainyard: Trainyard, capsys: pytest.CaptureFixture[str], command: str, asked: str, answer: dict[str, Any] | None, said: str
) -> None:
    """Each of these commands is one request, and one line."""
    requests = []

    def answered(request: httpx2.Request) -> httpx2.Response:
        requests.append(f"{request.method} {request.url.path}")
        return httpx2.Response(204) if answer is None else httpx2.Response(202, json=JOB | answer)

    assert trainyard(command, "job_1", answer=answered) == 0
    assert requests == [asked]
    assert capsys.readouterr().out.strip() == said


@pytest.mark.parametrize("command", ["metrics", "artifacts"])
def test_rows_as_json(trainyard: Trainyard, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Rows and files come as a JSON list, numbers and names unshortened."""
    rows = [{"path": "p" * 200, "size": 1, "sha256": "0" * 64, "train_loss": 0.123456789012}]

    assert trainyard(command, "job_1", "--json", answer=lambda _: httpx2.Response(200, json={"data": rows})) == 0
    assert json.loads(capsys.readouterr().out) == rows


def test_a_failed_job_says_why(trainyard: Trainyard, capsys: pytest.CaptureFixture[str]) -> None:
    """`get` of a failed job carries the error's sentence."""
    error = {"code": "nan_loss", "message": "The loss became NaN.", "hint": "Lower lr."}

    assert trainyard("get", "job_1", answer=says("failed", error=error)) == 0
    assert "The loss became NaN." in capsys.readouterr().out

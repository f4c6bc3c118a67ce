"""What each command prints and sends, against answers made up here."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.client.cli import completing
from service.client.cli.comparing import differences
from service.client.cli.files import places
from service.spec import EXAMPLES
from service.spec.job import read_parts
from service.spec.text import parse_body
from tests.answers import EVENTS, JOB

ROOT = Path(__file__).parent.parent.parent.parent
Trainyard = Callable[..., int]
Capture = pytest.CaptureFixture[str]
LAYERS = [{"path": "1", "type": "Linear", "output_shape": [10], "num_parameters": 7850}]
VERDICT: dict[str, Any] = {
    "valid": True, "errors": [], "warnings": [], "layers": LAYERS, "num_parameters": 7850, "flops_per_sample": 15_680,
    "memory_bytes": {"total": 123_456}, "estimate": {"seconds_per_epoch": 1.5}, "resolved_spec": {"epochs": 2, "optimizer": {"type": "SGD", "lr": 0.1}},
}  # fmt: skip


QUEUE: dict[str, Any] = {
    "device": "cpu", "waiting": 1, "running": 1, "slots": 2, "idle": 0,
    "jobs": [{"id": "job_1", "name": "first", "position": 1, "priority": 3, "created_at": "2026-11-25T12:00:00Z", "estimated_start_at": None}],
}  # fmt: skip
WORKER: dict[str, Any] = {
    "name": "w1", "device": "cpu", "memory_bytes": 8_000_000_000, "slots": 2, "busy": 1, "threads": 1, "versions": {"torch": "2.13.0"}, "jobs": ["job_1"],
    "history": [{"id": "job_0", "name": None, "state": "succeeded", "started": "2026-11-25T12:00:00Z", "ended": "2026-11-25T12:00:09Z"}],
}  # fmt: skip


def always(body: Any, *, status: int = 200) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda _: httpx2.Response(status, json=body)


def by_path(**answers: Any) -> Callable[[httpx2.Request], httpx2.Response]:
    """The answer whose name is the path's last word."""
    return lambda request: httpx2.Response(200, json=answers[request.url.path.rpartition("/")[2]])


def nobody(_: httpx2.Request) -> httpx2.Response:
    raise AssertionError("nobody is to be asked")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "job.yaml"
    file.write_text("dataset: Digits\noptimizer:\n  type: SGD\nepochs: 2\n")
    return file


@pytest.mark.parametrize("example", sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
def test_init_writes_a_spec_that_editors_check(trainyard: Trainyard, capsys: Capture, tmp_path: Path, example: str):
    """The file begins with the schema's name, the schema lies beside it, and the spec is read as the example is."""
    file = tmp_path / "new" / "job.yaml"

    assert trainyard("init", example, "-o", str(file), answer=nobody) == 0

    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_text().splitlines()[0] == "# yaml-language-server: $schema=./job.schema.json"
    assert read_parts(parse_body(file.read_bytes(), "application/yaml"))[0] is not None
    assert json.loads((tmp_path / "new" / "job.schema.json").read_text())["required"] == ["dataset", "model", "loss", "optimizer", "epochs"]


def test_init_overwrites_nothing_unasked(trainyard: Trainyard, capsys: Capture, tmp_path: Path):
    """A file that is there stays, exit 2; --force takes its place. The schema, which is ours, is made new."""
    file = tmp_path / "job.yaml"
    assert trainyard("init", "-o", str(file), answer=nobody) == 0
    file.write_text("mine")

    assert trainyard("init", "-o", str(file), answer=nobody) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"

    (tmp_path / "other.yaml").unlink(missing_ok=True)
    assert trainyard("init", "-o", str(tmp_path / "other.yaml"), answer=nobody) == 0
    assert trainyard("init", "-o", str(file), "--force", answer=nobody) == 0
    assert file.read_text() != "mine"


def test_a_schema_that_is_not_ours_stays(trainyard: Trainyard, tmp_path: Path):
    """Somebody else's file of that name is not overwritten either, and the spec is not written."""
    (tmp_path / "job.schema.json").write_text("{}")

    assert trainyard("init", "-o", str(tmp_path / "job.yaml"), answer=nobody) == 2
    assert not (tmp_path / "job.yaml").exists()


def test_examples(trainyard: Trainyard, capsys: Capture):
    """A line for each; one of them as it is written; a name that is none exits 4 with a close one."""
    assert trainyard("init", "--list", "--json", answer=nobody) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
    assert all(each["about"] and "\n" not in each["about"] for each in listed)

    assert trainyard("examples", "mnist-mlp", answer=nobody) == 0
    assert capsys.readouterr().out == (EXAMPLES / "mnist-mlp.yaml").read_text()

    assert trainyard("examples", "mnist-mpl", answer=nobody) == 4
    assert "Did you mean mnist-mlp?" in capsys.readouterr().err


def test_a_spec_from_stdin_with_labels(trainyard: Trainyard, spec: Path, monkeypatch: pytest.MonkeyPatch):
    """`submit -` reads YAML; --label joins the spec's own."""
    sent = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(202, json=JOB)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(spec.read_bytes() + b"labels: {a: b}\n")))

    assert trainyard("submit", "-", "--label", "course=intro", "--label", "try=1=2", answer=answer) == 0
    assert sent[0]["labels"] == {"a": "b", "course": "intro", "try": "1=2"}
    assert trainyard("submit", str(spec), "--label", "course", answer=answer) == 2


def test_faults_are_shown_at_their_lines(trainyard: Trainyard, capsys: Capture, spec: Path):
    """`validate` and `submit` name file and line of each fault; what is not in the file has its pointer alone."""
    faults = [
        {"pointer": "/optimizer/type", "detail": "is odd.", "suggestion": None},
        {"pointer": "/model", "detail": "is missing.", "suggestion": None},
    ]
    assert trainyard("validate", str(spec), answer=always(VERDICT | {"valid": False, "errors": faults})) == 3
    verdict = capsys.readouterr().err
    refusal = {"type": "/problems/spec-rejected", "detail": "The spec has 2 faults.", "errors": faults}
    assert trainyard("submit", str(spec), answer=always(refusal, status=422)) == 3

    for said in (verdict, capsys.readouterr().err):
        assert f"{spec}:3: /optimizer/type: is odd." in said
        assert "  /model: is missing." in said


def test_places_of_nested_values(tmp_path: Path):
    """Lists, flow style and keys with a slash have their lines, too; text that is no YAML has none."""
    file = tmp_path / "a.yaml"
    file.write_text("# note\nmodel:\n  layers:\n    - Flatten\n    - {type: Linear,\n       out_features: 3}\nlabels: {a/b: c}\n")

    found = places(file)

    assert (found["/model/layers/0"], found["/model/layers/1/out_features"], found["/labels/a~1b"]) == (
        f"{file}:4",
        f"{file}:6",
        f"{file}:7",
    )
    file.write_text("[")
    assert places(file) == {}


def test_the_layer_table(trainyard: Trainyard, capsys: Capture, spec: Path):
    """`spec show` has shapes and parameters, and what it all comes to."""
    assert trainyard("spec", "show", str(spec), answer=always(VERDICT)) == 0

    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split() == ["1", "Linear", "10", "7,850"]
    assert printed[2] == "7,850 parameters, 123 KB in a training step, 15.7 thousand operations a sample, 1.5 s an epoch"


def test_the_program_and_the_resolved_spec(trainyard: Trainyard, capsys: Capture, spec: Path):
    """`spec python` prints the program as it is; `spec resolve` YAML that reads back the same; `spec schema` the schema."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1/jobs/script":
            return httpx2.Response(200, text="import torch\n", headers={"Content-Type": "text/x-python"})
        return httpx2.Response(200, json=VERDICT)

    assert trainyard("spec", "python", str(spec), answer=answer) == 0
    assert capsys.readouterr().out == "import torch\n"
    assert trainyard("spec", "resolve", str(spec), answer=answer) == 0
    assert parse_body(capsys.readouterr().out.encode(), "application/yaml") == VERDICT["resolved_spec"]
    assert trainyard("spec", "schema", answer=nobody) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "JobSpec"


def test_the_catalog(trainyard: Trainyard, capsys: Capture):
    """A name with its arguments; a part with all that match; nothing: exit 4 and a close one."""
    assert trainyard("catalog", "dropout", answer=nobody) == 0
    (row,) = [line.split()[:6] for line in capsys.readouterr().out.splitlines() if line.startswith("p ")]
    assert row == ["p", "float", "0", "to", "1", "0.5"]
    assert trainyard("catalog", "conv", "--json", answer=nobody) == 0
    assert {"Conv2d", "convnext_tiny"} <= {each["name"] for each in json.loads(capsys.readouterr().out)}
    assert trainyard("catalog", "BatchNrm2d", answer=nobody) == 4
    assert "Did you mean BatchNorm2d?" in capsys.readouterr().err


def test_lists_ids_alone_with_q(trainyard: Trainyard, capsys: Capture):
    """`ls -q` is for xargs; before or after the command's name."""
    page = {"data": [JOB, JOB | {"id": "job_2"}], "next_cursor": None}

    for arguments in (("ls", "-q"), ("-q", "ls")):
        assert trainyard(*arguments, answer=always(page)) == 0
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("job_1\njob_2\n", "")


def test_a_table_off_a_terminal_shortens_nothing(trainyard: Trainyard, capsys: Capture):
    """Long names stay whole in a pipe; no escape code, no trailing space."""
    name = "n" * 150

    assert trainyard("ls", answer=always({"data": [JOB | {"name": name}], "next_cursor": None})) == 0

    out = capsys.readouterr().out
    assert name in out
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_filters_are_sent(trainyard: Trainyard):
    """Labels as the API has them."""
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url.query, "ascii") if isinstance(request.url.query, bytes) else request.url.query)
        return httpx2.Response(200, json={"data": [], "next_cursor": None})

    assert trainyard("ls", "--label", "a=b", "--label", "c=d", "--state", "failed", "--search", "mlp", answer=answer) == 0
    for part in ("label=a%3Ab", "label=c%3Ad", "state=failed", "q=mlp"):
        assert part in asked[0]


def test_watching_all_off_a_terminal(trainyard: Trainyard, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    """A line for each change, the end of each, then done; --json prints the jobs."""
    monkeypatch.setattr("service.client.cli.watching.WATCH_SECONDS", 0)
    running = JOB | {"state": "running", "metrics": {}, "progress": {"epoch": 1, "percent": 50.0}}

    def answers() -> Callable[[httpx2.Request], httpx2.Response]:
        pages = [[running], [running], []]

        def answer(request: httpx2.Request) -> httpx2.Response:
            if request.url.path == "/v1/jobs":
                return httpx2.Response(200, json={"data": pages.pop(0), "next_cursor": None})
            return httpx2.Response(200, json=JOB)

        return answer

    assert trainyard("watch", answer=answers()) == 0
    assert capsys.readouterr().out.splitlines() == ["job_1 first running 1/2", "job_1 first succeeded 2/2 test_accuracy 0.9625"]
    assert trainyard("watch", "--json", answer=answers()) == 0
    assert [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()] == ["running", "succeeded"]


def streamed(request: httpx2.Request, *, state: str) -> httpx2.Response:
    if request.url.path.endswith("/events"):
        events = [*EVENTS[:2], EVENTS[2] | {"data": {"state": state, "phase": None}}]
        text = "".join(f"id: {event['id']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return httpx2.Response(200, text=text, headers={"Content-Type": "text/event-stream"})
    return httpx2.Response(200, json=JOB | {"state": state})


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 6)])
@pytest.mark.parametrize(
    "command", [("events", "job_1", "--follow", "--json"), ("watch", "job_1", "--json"), ("watch", "job_1"), ("watch", "job_1", "-q")]
)
def test_watching_one_exits_as_it_ended(trainyard: Trainyard, capsys: Capture, command: tuple[str, ...], state: str, code: int):
    """JSON lines or a summary on stdout, and the job's own exit code."""
    assert trainyard(*command, answer=lambda request: streamed(request, state=state)) == code

    out = capsys.readouterr().out.splitlines()
    if "--json" in command:
        assert [json.loads(line)["id"] for line in out] == [1, 2, 3]
    else:
        assert out == [f"job_1 {state} test_accuracy 0.9625"]


def test_comparing(trainyard: Trainyard, capsys: Capture):
    """Metrics with the best marked; of the specs only what differs."""
    other = JOB | {
        "id": "job_2",
        "name": "second",
        "metrics": {"test_accuracy": 0.97},
        "resolved_spec": {"epochs": 2, "optimizer": {"lr": 0.1}},
    }
    one = JOB | {"resolved_spec": {"epochs": 2, "optimizer": {"lr": 0.01}}}

    assert trainyard("compare", "job_1", "job_2", answer=by_path(job_1=one, job_2=other)) == 0

    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["1", "first", "succeeded", "0.9625", "2.0", "s"] in printed
    assert ["2", "second", "succeeded", "0.9700*", "2.0", "s"] in printed
    assert ["optimizer.lr", "0.01", "0.1"] in printed
    assert not any(line and line[0] == "epochs" for line in printed)
    assert trainyard("compare", "job_1", answer=nobody) == 2


def test_differences_in_lists_and_absent_parts():
    """A layer by its place; a part that one has not is None; names and labels are no differences."""
    specs = [
        {"name": "a", "model": {"layers": [{"type": "ReLU"}]}, "mean": [1, 2]},
        {"name": "b", "model": {"layers": [{"type": "GELU"}, {"type": "Flatten"}]}, "mean": [1, 3]},
    ]

    assert differences([{"resolved_spec": None, "spec": spec} for spec in specs]) == {
        "model.layers.0.type": ["ReLU", "GELU"],
        "mean": [[1, 2], [1, 3]],
        "model.layers.1.type": [None, "Flatten"],
    }


def test_metrics_as_curves(trainyard: Trainyard, capsys: Capture):
    """`metrics --plot` has a line for each metric; --per step asks for steps."""
    rows = [{"epoch": n, "step": 10 * n, "at": 1.0, "train_loss": 1.0 / n} for n in range(1, 9)]
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(200, json={"data": rows})

    assert trainyard("metrics", "job_1", "--plot", answer=answer) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train_loss")]
    assert line.split()[:5] == ["train_loss", "1", "0.125", "0.125", "1"]
    assert line.split()[5].startswith("█")
    assert trainyard("metrics", "job_1", "--per", "step", answer=answer) == 0
    assert "per=step" in asked[-1]
    capsys.readouterr()
    assert trainyard("metrics", "job_1", "--per", "step", "--csv", answer=answer) == 0
    assert capsys.readouterr().out.split()[:2] == ["epoch,step,train_loss", "1,10,1.0"]
    assert trainyard("metrics", "job_1", "--plot", "--csv", answer=answer) == 2


@pytest.mark.parametrize(
    ("command", "answered", "words"),
    [
        (("queue",), {"data": [QUEUE]}, ["cpu", "1", "job_1", "first", "3"]),
        (("workers",), {"data": [WORKER]}, ["w1", "cpu", "8.0", "GB", "1/2", "2.13.0", "job_1", "job_0", "succeeded,"]),
        (
            ("checkpoints", "job_1"),
            {"data": [{"epoch": 2, "step": 82, "size": 38_700, "best": True, "created_at": "2026-11-25T12:00:00Z"}]},
            ["2", "82", "best", "38.7", "KB"],
        ),
        (("storage",), {"jobs": {"objects": 1200, "bytes": 1_234_567}}, ["jobs", "1,200", "1.2", "MB"]),
    ],
)
def test_tables_of_the_service(trainyard: Trainyard, capsys: Capture, command: tuple[str, ...], answered: dict[str, Any], words: list[str]):
    """A row with its words, and as JSON what the service said."""
    assert trainyard(*command, answer=always(answered)) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[: len(words)] == words
    assert trainyard(*command, "--json", answer=always(answered)) == 0
    assert json.loads(capsys.readouterr().out) == answered.get("data", answered)


def test_some_files_of_a_job(trainyard: Trainyard, capsys: Capture, tmp_path: Path):
    """`download --only` takes names and patterns; one that fits nothing exits 4."""
    body = b"weights"
    file = {"size": len(body), "sha256": sha256(body).hexdigest(), "content_type": "x/y"}
    files = [
        file | {"path": path, "url": f"/v1/jobs/job_1/artifacts/{path}"} for path in ("model.safetensors", "plots/curves.png", "train.py")
    ]

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"data": files}) if request.url.path.endswith("/artifacts") else httpx2.Response(200, content=body)

    assert trainyard("download", "job_1", "-o", str(tmp_path), "--only", "plots/*", "--only", "train.py", answer=answer) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(tmp_path / "plots/curves.png"), str(tmp_path / "train.py")]
    assert f"2 files, 14 B, in {tmp_path}" in printed.err
    assert not (tmp_path / "model.safetensors").exists()
    assert trainyard("download", "job_1", "-o", str(tmp_path), "--only", "model.pt2", answer=answer) == 4


def test_the_shell_completes_words():
    """Commands, options and examples, as bash asks for them."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}

    def completed(line: str) -> list[str]:
        told = own | {"_TRAINYARD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        ran = subprocess.run([sys.executable, "-m", "service.client.cli"], env=told, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ran.stderr == ""
        return ran.stdout.split()

    assert completed("trainyard comp") == ["compare"]
    assert completed("trainyard init mnist-m") == ["mnist-mlp"]
    assert "--follow" in completed("trainyard submit --")
    assert completed("trainyard get --url http://127.0.0.1:1 job_") == []


def test_the_page_of_a_job(trainyard: Trainyard, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Its address where there is no browser; where there is one, the browser is started with it and nothing is printed."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert trainyard("open", "job_1", answer=always(JOB)) == 0
    assert capsys.readouterr().out == "http://trainyard.test/jobs/job_1\n"

    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    assert trainyard("open", "job_1", answer=always(JOB)) == 0
    assert capsys.readouterr().out == ""
    assert opened.read_text() == "http://trainyard.test/jobs/job_1\n"


def test_config_says_what_holds_and_why(trainyard: Trainyard, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    """The source of each; never the whole key."""
    monkeypatch.setenv("TRAINYARD_API_KEY", "a-key-that-is-secret")

    assert trainyard("--url", "http://before:1", "config", "--url", "http://after:1", answer=nobody) == 0

    out = capsys.readouterr().out
    assert "http://after:1  --url" in out
    assert "...cret" in out
    assert "a-key-that-is-secret" not in out


def test_completion_is_silent_where_nobody_answers(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No service, a file that is no TOML: nothing is offered, nothing is said."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("TRAINYARD_URL", "http://127.0.0.1:1")
    assert completing.job_ids("") == completing.dataset_names("") == []
    (tmp_path / "trainyard").mkdir()
    (tmp_path / "trainyard" / "config.toml").write_text("url = ")
    assert completing.job_ids("") == []
    assert ("mnist-mlp", "") in completing.example_names("mnist")
    assert capsys.readouterr() == ("", "")

"""Jobs as handles: typed facts, what is asked through them, every page of a list, and all that can be submitted."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.client import BadRequest, Job, JobFailed, Rejected
from service.client.handle import Best, JobError, Progress, Warned
from service.spec.job import JobSpec
from tests.unit.client.answering import JOB, client

SPEC: dict[str, Any] = {
    "dataset": "Digits",
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "epochs": 1,
}
YAML = """
dataset: Digits
model: {type: Sequential, layers: [Flatten, {type: Linear, out_features: 10}]}
loss: CrossEntropyLoss
optimizer: {type: SGD, lr: 1e-1}
epochs: 1
"""


def held(**facts: Any) -> Job:
    """A job in the hand, whose service answers nothing."""

    def nothing(_: httpx2.Request) -> httpx2.Response:
        raise AssertionError("nobody was to be asked")

    return Job(client(nothing), copy.deepcopy(JOB) | facts)


def test_facts_have_types() -> None:
    """What the service told reads as Python's own: times with their zone, parts as records; what is unknown here does no harm."""
    job = held()

    assert (job.id, job.name, job.labels, job.state, job.phase, job.has_ended) == (
        "job_1",
        "first",
        {"course": "intro"},
        "running",
        "training",
        False,
    )
    assert job.progress == Progress(epoch=1, epochs=4, step=10, steps=40, percent=25.0, eta_seconds=3.5)
    assert job.latest == {"train_loss": 0.5, "val_loss": 0.625}
    assert job.best == Best(monitor="val_loss", value=0.625, epoch=1, step=10)
    assert job.warnings == [Warned(code="lr", detail="is large", pointer="/optimizer/lr", suggestion="Try 0.001.")]
    assert job.created_at == datetime(2026, 11, 25, 12, 0, 0, 250000, tzinfo=UTC)
    assert job.finished_at is None
    assert (job.error, job.reason, job.queue_position) == (None, None, None)
    assert (job.spec, job.resolved_spec) == ({"epochs": 4}, {"epochs": 4, "seed": 0})
    assert repr(job) == "<Job job_1 'first': running, 25 %>"


def test_a_failed_job_says_why() -> None:
    """Its error is a record with a code, a sentence and what would help."""
    error = {"code": "bad_data", "message": "There is no MNIST.", "hint": "Set TRAINYARD_DATASETS_DIR."}

    job = held(state="failed", error=error)

    assert job.has_ended
    assert job.error == JobError(code="bad_data", message="There is no MNIST.", hint="Set TRAINYARD_DATASETS_DIR.")


def test_a_handle_is_still_the_answer() -> None:
    """It reads as the mapping that was answered, compares with it and becomes its JSON."""
    job = held()

    assert job == JOB
    assert job["progress"]["percent"] == 25.0
    assert json.loads(json.dumps(job)) == JOB


def test_submit_gives_a_handle_that_waits() -> None:
    """`client.submit(spec).wait()` is one line, and the handle is then as the job ended."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(202, json=JOB) if request.method == "POST" else httpx2.Response(200, json=JOB | {"state": "succeeded"})

    with client(answer) as trainyard:
        job = trainyard.submit(SPEC)
        ended = job.wait(timeout=5)

    assert ended is job
    assert job.state == "succeeded"


@pytest.mark.parametrize(
    ("state", "error", "sentence"),
    [
        (
            "failed",
            {"code": "nan_loss", "message": "The loss is no number.", "hint": "Lower lr."},
            "failed: The loss is no number. Lower lr.",
        ),
        ("cancelled", None, "was cancelled."),
    ],
)
def test_waiting_may_raise(state: str, error: dict[str, str] | None, sentence: str) -> None:
    """Where asked to, waiting for a job that does not succeed raises JobFailed, with the reason and the job in it; else it does not."""
    with client(lambda _: httpx2.Response(200, json=JOB | {"state": state, "error": error})) as trainyard:
        assert trainyard.get("job_1").wait().state == state
        with pytest.raises(JobFailed) as failed:
            trainyard.get("job_1").wait(raise_on_failure=True)

    assert str(failed.value) == f"Job job_1 {sentence}"
    assert failed.value.job["state"] == state


def test_what_is_asked_of_a_job_is_asked_of_its_address() -> None:
    """Each method goes to the job's own path; those that change it leave the handle as the service answered."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(f"{request.method} {request.url.path}{'?' if request.url.query else ''}{request.url.query.decode()}")
        if request.url.path.endswith("/logs"):
            return httpx2.Response(200, text="a line", headers={"Content-Type": "text/plain"})
        if request.url.path.endswith(("/metrics", "/artifacts")):
            return httpx2.Response(200, json={"data": [{"epoch": 1, "path": "train.py"}]})
        return httpx2.Response(200, json=JOB | {"state": "paused", "outputs": [1]})

    with client(answer) as trainyard:
        job = Job(trainyard, JOB)
        for act in (job.cancel, job.pause, job.resume, job.refresh):
            job.update(state="running")
            assert act() is job
            assert job.state == "paused"
        assert job.retry() is not job
        job.delete()
        assert job.logs(tail=3) == "a line"
        assert job.metrics().column("epoch") == [1]
        assert job.steps(after=7, points=100).columns == ["epoch", "path"]
        assert job.artifacts()[0]["path"] == "train.py"
        assert job.predict([[0.5]], resize=True)["outputs"] == [1]

    assert asked == [
        "POST /v1/jobs/job_1/cancel",
        "POST /v1/jobs/job_1/pause",
        "POST /v1/jobs/job_1/resume",
        "GET /v1/jobs/job_1?wait=0",
        "POST /v1/jobs/job_1/retry",
        "DELETE /v1/jobs/job_1",
        "GET /v1/jobs/job_1/logs?tail=3",
        "GET /v1/jobs/job_1/metrics",
        "GET /v1/jobs/job_1/metrics?per=step&after=7&points=100",
        "GET /v1/jobs/job_1/artifacts",
        "POST /v1/jobs/job_1/predict?resize=true",
    ]


def test_jobs_are_every_page() -> None:
    """Iterating asks for page after page with the same filters, each only when it is needed, and gives handles."""
    pages = {None: (["job_3", "job_2"], "two"), "two": (["job_1"], None)}
    asked: list[dict[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        ids, following = pages[request.url.params.get("cursor")]
        return httpx2.Response(200, json={"data": [JOB | {"id": id} for id in ids], "next_cursor": following})

    with client(answer) as trainyard:
        jobs = trainyard.jobs(state="running", name=None)
        first = next(jobs)
        assert len(asked) == 1
        rest = list(jobs)

    assert [job.id for job in (first, *rest)] == ["job_3", "job_2", "job_1"]
    assert all(isinstance(job, Job) for job in rest)
    assert asked == [{"limit": "100", "state": "running"}, {"limit": "100", "state": "running", "cursor": "two"}]


def sent(spec: Any) -> dict[str, Any]:
    """What arrives where something is submitted."""
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        return httpx2.Response(202, json=JOB)

    with client(answer) as trainyard:
        trainyard.submit(spec)
    return bodies[0]


def test_a_spec_may_come_in_any_form(tmp_path: Path) -> None:
    """A dict, a file of YAML or JSON by Path or str, a text of either, and a JobSpec say the same."""
    (tmp_path / "job.yaml").write_text(YAML)
    (tmp_path / "job.json").write_text(json.dumps(SPEC))

    assert sent(SPEC) == SPEC
    assert sent(tmp_path / "job.yaml") == SPEC
    assert sent(str(tmp_path / "job.json")) == SPEC
    assert sent(YAML) == SPEC
    assert sent(json.dumps(SPEC)) == SPEC
    assert JobSpec.model_validate(sent(JobSpec.model_validate(SPEC))) == JobSpec.model_validate(SPEC)
    assert "seed" not in sent(JobSpec.model_validate(SPEC))


def test_a_text_that_cannot_be_read_is_rejected_here() -> None:
    """YAML that JSON cannot hold, or that is none, raises Rejected with its place, as the service would; nobody is asked."""
    with pytest.raises(Rejected) as rejected:
        held()._client.submit("epochs: 2026-11-25\n")

    assert [fault["pointer"] for fault in rejected.value.faults] == ["/epochs"]


def test_what_is_no_spec_is_refused(tmp_path: Path) -> None:
    """Another type is named with what would be right; a file that is not there is the system's own error."""
    with pytest.raises(BadRequest, match=r"list is no spec.*from_torch"):
        held()._client.submit([SPEC])  # type: ignore[arg-type]  # the mistake in question
    with pytest.raises(FileNotFoundError, match="nowhere"):
        held()._client.submit(tmp_path / "nowhere.yaml")


def test_evaluating_submits_the_models_job() -> None:
    """`job.evaluate` asks for a job without epochs that has the same model, loss and transforms."""
    resolved = {
        "dataset": {"type": "Upload", "target": "label", "transforms": ["ToImage"]},
        "dataloader": {"batch_size": 8, "eval_batch_size": 16, "shuffle": True},
        "loss": {"type": "NLLLoss"},
        "optimizer": {"type": "SGD"},
        "evaluation": {"metrics": None},
    }
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        return httpx2.Response(202, json=JOB | {"id": "job_2"})

    with client(answer) as trainyard:
        evaluating = Job(trainyard, JOB | {"resolved_spec": resolved}).evaluate("later", share=0.5)

    assert evaluating.id == "job_2"
    assert (bodies[0]["epochs"], bodies[0]["model"]) == (0, {"type": "Job", "job_id": "job_1"})
    assert bodies[0]["dataset"] == {
        "type": "Upload",
        "name": "later",
        "version": None,
        "test_split": 0.5,
        "target": "label",
        "transforms": ["ToImage"],
    }


def test_the_import_is_light() -> None:
    """`from service.client import Client, from_torch` loads neither torch nor pandas, nor what prints or checks specs."""
    heavy = {"torch", "pandas", "numpy", "rich", "typer", "pydantic", "ruamel"}
    code = f"from service.client import Client, Job, Rows, from_torch; import sys; sys.exit(', '.join({heavy} & sys.modules.keys()) or 0)"

    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert (ran.returncode, ran.stderr.strip()) == (0, "")

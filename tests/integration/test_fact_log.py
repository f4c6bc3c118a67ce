"""What attempts report, in the record and in the live tail. One body of tests for Redis and for its twin in memory."""

from __future__ import annotations

from service.adapters.stores import Stores
from service.jobs.job import Exactness, Progress
from service.jobs.ports import Report
from service.jobs.state import Phase
from service.spec.verdict import SpecWarning
from tests.integration.steps import NewJob, claim, submit


def test_a_report_reaches_record_and_tail(stores: Stores, new_job: NewJob) -> None:
    """Progress, metrics, best, phase and digest reach the record exactly; rows, events and logs the tail, in order."""
    submit(stores, new_job())
    taken = claim(stores)
    loss = 0.123456789012345678
    row = {"epoch": 1, "step": 10, "train_seconds": 0.1, "train_loss": loss}
    best = {"monitor": "val_loss", "value": loss, "epoch": 1, "step": 10}
    event = {"type": "epoch", "message": "Epoch 1", "data": {"epoch": 1, "empty": []}}

    stores.facts.report(taken, Report(metrics={"lr": 0.1, "train_loss": 9.0}, logs=["a"], inexact="out_of_memory"))
    stores.facts.report(
        taken,
        Report(
            phase="training",
            progress={"epoch": 1, "epochs": 2, "step": 10, "steps": 20, "percent": 50.0, "eta_seconds": 1e-7},
            metrics={"train_loss": loss, "val_loss": float("nan")},
            row=row,
            events=[event],
            logs=["b", "ünïcode"],
            best=best,
            dataset_digest="sha",
            inexact="hardware_changed",
        ),
    )

    job = stores.jobs.find("default", taken.job.id)
    assert job.progress == Progress(epoch=1, epochs=2, step=10, steps=20, percent=50.0, eta_seconds=1e-7)
    assert job.metrics == {"lr": 0.1, "train_loss": loss}
    assert (job.phase, job.dataset_digest) == (Phase.TRAINING, "sha")
    assert job.exactness == Exactness(exact=False, reasons=("out_of_memory", "hardware_changed"))
    assert job.best is not None
    assert job.best.value == loss
    assert stores.facts.metrics("default", job.id) == [row]
    assert stores.facts.logs("default", job.id) == ["a", "b", "ünïcode"]
    events = stores.facts.events("default", job.id, after=0, limit=100)
    assert events is not None
    assert [(each["id"], each["type"]) for each in events] == [(1, "state"), (2, "state"), (3, "state"), (4, "epoch")]
    assert [each["data"].get("phase") for each in events] == [None, "preparing", "training", None]
    assert events[3]["data"] == event["data"]
    assert events[3]["at"].endswith("Z")


def test_repeated_epochs_are_dropped(stores: Stores, new_job: NewJob) -> None:
    """A resumed attempt's rows at or below the last recorded, and their events, are not recorded twice; what is new is."""
    submit(stores, new_job())
    taken = claim(stores)

    for epoch, step in ((1, 10), (2, 20), (1, 10), (2, 20), (3, 30)):
        event = {"type": "epoch", "message": "", "data": {"epoch": epoch}}
        stores.facts.report(taken, Report(row={"epoch": epoch, "step": step}, events=[event]))

    rows = stores.facts.metrics("default", taken.job.id)
    events = stores.facts.events("default", taken.job.id, after=2, limit=100)
    assert [row["epoch"] for row in rows or ()] == [1, 2, 3]
    assert [event["data"]["epoch"] for event in events or ()] == [1, 2, 3]


def test_events_come_in_pages(stores: Stores, new_job: NewJob) -> None:
    """`after` and `limit` walk through the events without gap or repeat."""
    submit(stores, new_job())
    taken = claim(stores)
    stores.facts.report(taken, Report(events=[{"type": "note", "message": str(n)} for n in range(10)]))

    seen, after = [], 0
    while page := stores.facts.events("default", taken.job.id, after=after, limit=5):
        seen += [event["id"] for event in page]
        after = seen[-1]

    assert seen == list(range(1, 13))


def test_live_tails_are_capped(stores: Stores, new_job: NewJob) -> None:
    """Ten thousand events and log lines are kept, the newest; ids go on growing."""
    submit(stores, new_job())
    taken = claim(stores)
    for _ in range(11):
        stores.facts.report(taken, Report(events=[{"type": "note"}] * 1000, logs=["x"] * 999 + ["last"]))

    events = stores.facts.events("default", taken.job.id, after=0, limit=20_000) or ()
    logs = stores.facts.logs("default", taken.job.id) or ()
    assert (len(events), events[-1]["id"]) == (10_000, 11_002)
    assert (len(logs), logs[-1]) == (10_000, "last")


def test_the_worker_may_resolve_the_spec(stores: Stores, new_job: NewJob) -> None:
    """A job that could not be checked before it was queued gets its resolved spec and warnings from the worker."""
    submit(stores, new_job(resolved_spec=None))
    taken = claim(stores)
    assert taken.job.resolved_spec is None

    stores.facts.report(taken, Report(resolved_spec={"seed": 0, "layers": []}, warnings=[SpecWarning(code="c", detail="d")] * 2))

    job = stores.jobs.find("default", taken.job.id)
    assert job.resolved_spec == {"seed": 0, "layers": []}
    assert [warning.code for warning in job.warnings] == ["c"]

"""Lists that are searched and sorted, one body of tests for Redis and for its twin in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from service.adapters.stores import Stores
from service.jobs import listing
from service.jobs.job import Job
from service.jobs.ports import Claim, Outcome, Page, Report
from tests.integration.conftest import Clock

NewJob = Callable[..., Job]


def submit(stores: Stores, job: Job) -> str:
    return stores.jobs.submit(job, idempotency=None).job.id


def run(stores: Stores, clock: Clock, outcome: Outcome, **metrics: float) -> str:
    """The job that waits longest runs and ends, a second later than the one before; its record is saved, as a sweeper would."""
    claim = stores.attempts.claim(worker="w", device="cpu")
    assert isinstance(claim, Claim)
    stores.facts.report(claim, Report(metrics=metrics))
    clock.pass_by(1)
    stores.attempts.finish(claim, outcome)
    for job in stores.housekeeping.unsaved(100):
        stores.housekeeping.saved(job)
    return claim.job.id


def pages(stores: Stores, limit: int = 50, **asked: Any) -> list[Page]:
    """Every page of a list."""
    found = [stores.jobs.list("default", limit=limit, cursor=None, **asked)]
    while found[-1].next_cursor is not None:
        found.append(stores.jobs.list("default", limit=limit, cursor=found[-1].next_cursor, **asked))
    return found


def ids(stores: Stores, limit: int = 50, **asked: Any) -> list[str]:
    return [job.id for page in pages(stores, limit, **asked) for job in page.jobs]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MNIST-one", ["a"]),
        ("job-0002", ["b"]),
        ("course:INTRO", ["a"]),
        ("intro", ["a"]),
        ("resnet18", ["b"]),
        ("sequential", ["a", "c"]),
        ("digits", ["c"]),
        ("flowers", ["b"]),
        ("ÉTÉ", ["c"]),
        ("nothing has this", []),
        ("", ["a", "b", "c"]),
    ],
)
def test_text_is_found_in_ids_names_labels_and_types(stores: Stores, new_job: NewJob, clock: Clock, text: str, found: list[str]) -> None:
    """Whatever the case, and also where the job has ended and its record was put away."""
    sequential = {"type": "Sequential", "layers": []}
    named = {
        submit(stores, new_job(name="mnist-ONE", labels={"course": "Intro"}, spec={"dataset": "MNIST", "model": sequential})): "a",
        submit(
            stores,
            new_job(spec={"dataset": {"type": "Upload", "name": "Flowers"}, "model": {"type": "torchvision", "name": "resnet18"}}),
        ): "b",
        submit(stores, new_job(name="été", spec={"dataset": {"type": "Digits"}, "model": sequential})): "c",
    }
    submit(stores, new_job(project="other", name="mnist-one"))
    run(stores, clock, Outcome(kind="succeeded"))

    assert sorted(named[each] for each in ids(stores, limit=1, text=text)) == found


def test_jobs_are_sorted_by_a_metric(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Up or down, of ended and running jobs alike; who has no such value comes last, the newest first."""
    jobs = []
    for _ in range(6):
        jobs.append(submit(stores, new_job(created_at=clock.now())))
        clock.pass_by(1)
    for value in (0.5, 0.9, 0.7):
        run(stores, clock, Outcome(kind="succeeded"), val_accuracy=value)
    running = stores.attempts.claim(worker="w", device="cpu")
    assert running is not None
    stores.facts.report(running, Report(metrics={"val_accuracy": 0.6}))

    up, down = ids(stores, limit=2, sort="val_accuracy"), ids(stores, limit=2, sort="-val_accuracy")

    assert up == [jobs[0], jobs[3], jobs[2], jobs[1], jobs[5], jobs[4]]
    assert down == [jobs[1], jobs[2], jobs[3], jobs[0], jobs[5], jobs[4]]
    assert ids(stores, sort="-val_accuracy", states=["succeeded"]) == [jobs[1], jobs[2], jobs[0]]


def test_jobs_are_sorted_by_name_state_and_end(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Names whatever their case; states in the order of a job's life; ends by their time."""
    first, second, third, fourth = (submit(stores, new_job(name=name)) for name in ("b", "A", None, "c"))
    run(stores, clock, Outcome(kind="failed"))
    run(stores, clock, Outcome(kind="succeeded"))
    stores.requests.pause("default", third)

    assert ids(stores, limit=3, sort="name") == [second, first, fourth, third]
    assert ids(stores, limit=3, sort="-name") == [fourth, first, second, third]
    assert ids(stores, limit=3, sort="state") == [fourth, third, second, first]
    assert ids(stores, limit=3, sort="finished_at") == [first, second, fourth, third]
    assert ids(stores, limit=3, sort="-finished_at") == [second, first, fourth, third]
    assert ids(stores, sort="created_at") == ids(stores, sort="-created_at") == [fourth, third, second, first]


def test_equal_values_page_without_gap_or_repeat(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Where many share a value the newest is first, whichever way; what is deleted between two pages shifts nothing."""
    for _ in range(7):
        submit(stores, new_job(name="same", created_at=clock.now()))
        clock.pass_by(1)
    newest_first = ids(stores)

    assert ids(stores, limit=2, sort="name") == ids(stores, limit=2, sort="-name") == newest_first
    page = stores.jobs.list("default", limit=3, cursor=None, sort="name")
    stores.requests.cancel("default", page.jobs[-1].id)
    stores.requests.delete("default", page.jobs[-1].id)
    rest = stores.jobs.list("default", limit=50, cursor=page.next_cursor, sort="name")
    assert [job.id for job in rest.jobs] == newest_first[3:]


def test_of_too_many_matches_the_newest_are_sorted(stores: Stores, new_job: NewJob, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the answer says how many those are; a list by creation leaves out nothing."""
    for module in ("service.adapters.redis_jobs", "service.adapters.memory.jobs"):
        monkeypatch.setattr(f"{module}.SORTED_AMONG", 3)
    jobs = []
    for number in range(5):
        jobs.append(submit(stores, new_job(name=str(number), created_at=clock.now())))
        clock.pass_by(1)

    found = pages(stores, limit=2, sort="name")

    assert [job.id for page in found for job in page.jobs] == jobs[2:]
    assert {page.only_newest for page in found} == {3}
    assert [page.only_newest for page in pages(stores, sort="name", text="4")] == [None]
    assert [page.only_newest for page in pages(stores)] == [None]


def _cursor(stores: Stores, sort: str) -> str:
    found = stores.jobs.list("default", limit=1, cursor=None, sort=sort).next_cursor
    assert found is not None
    return found


def test_a_cursor_belongs_to_its_order(stores: Stores, new_job: NewJob) -> None:
    """One of another order is refused, as is what is none at all."""
    for name in "ab":
        submit(stores, new_job(name=name))
    wrong: Sequence[tuple[str, str]] = [
        ("state", _cursor(stores, "name")),
        ("created_at", _cursor(stores, "name")),
        ("name", _cursor(stores, "created_at")),
        ("name", "nonsense"),
        ("name", listing._packed(["name", 3.5, 1, "job"])),
    ]

    for sort, cursor in wrong:
        with pytest.raises(ValueError, match="cursor"):
            stores.jobs.list("default", limit=1, cursor=cursor, sort=sort)


@pytest.mark.parametrize("sort", ["", "-", "val accuracy", "--name", "é"])
def test_what_is_no_key_is_refused(stores: Stores, sort: str) -> None:
    """With the keys that there are."""
    with pytest.raises(ValueError, match="created_at, name, state"):
        stores.jobs.list("default", limit=1, cursor=None, sort=sort)

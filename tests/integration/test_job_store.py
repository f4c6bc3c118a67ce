"""Jobs as users see them: taken in once, found, listed, in line. One body of tests for Redis and for its twin in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.adapters.stores import Stores
from service.jobs.errors import IdempotencyConflict, JobNotFound
from service.jobs.ports import Idempotency, Report
from service.jobs.state import JobState
from service.spec.verdict import Estimate, SpecWarning
from tests.integration.conftest import Clock
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit

NO_FILTER = {"states": (), "labels": {}, "name": None}


def test_a_submitted_job_is_found_as_it_was_posted(stores: Stores, new_job: NewJob) -> None:
    """Every field of a posted job comes back, numbers and empty lists unchanged."""
    warning = SpecWarning(code="lr", detail="high — très élevé")
    posted = new_job(name="näme", labels={"course": "intro"}, priority=-7, warnings=(warning,), dataset_digest="d1")

    submit(stores, posted)
    found = stores.jobs.find("default", posted.id)

    same = posted.model_dump(exclude={"transitions", "version"})
    assert found.model_dump(exclude={"transitions", "version"}) == same
    assert [step.state for step in found.transitions] == [JobState.QUEUED]


def test_a_job_of_another_project_is_not_found(stores: Stores, new_job: NewJob) -> None:
    """Find, cancel and the live tail know only the project's own jobs."""
    job = submit(stores, new_job(project="mine"))

    for ask in (
        lambda: stores.jobs.find("theirs", job.id),
        lambda: stores.requests.cancel("theirs", job.id),
        lambda: stores.facts.events("theirs", job.id, after=0, limit=10),
        lambda: stores.facts.logs("theirs", job.id),
        lambda: stores.jobs.find("mine", "nobody"),
    ):
        with pytest.raises(JobNotFound):
            ask()


def test_the_same_key_and_body_replay_the_first_job(stores: Stores, new_job: NewJob) -> None:
    """A repeated submit answers with the first job as it is now, and stores nothing."""
    first = submit(stores, new_job(), key="k")
    claim(stores)

    again = stores.jobs.submit(new_job(), idempotency=Idempotency(key="k", body_sha256="b" * 64))

    assert again.replayed
    assert (again.job.id, again.job.state) == (first.id, JobState.RUNNING)
    assert {device: demand.waiting for device, demand in stores.housekeeping.demand().items()} == {"cpu": 0, "gpu": 0}


def test_the_same_key_with_another_body_is_a_conflict(stores: Stores, new_job: NewJob) -> None:
    """Another body under a known key names the job that has the key; another project may use the key."""
    first = submit(stores, new_job(), key="k")

    with pytest.raises(IdempotencyConflict) as caught:
        submit(stores, new_job(), key="k", body="c" * 64)
    other = submit(stores, new_job(project="other"), key="k")

    assert caught.value.job_id == first.id
    assert other.project == "other"


def test_fifty_submitters_with_one_key_make_one_job(stores: Stores, new_job: NewJob) -> None:
    """However many submit the same key at once, one job is stored."""
    jobs = [new_job() for _ in range(50)]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda job: stores.jobs.submit(job, idempotency=Idempotency(key="k", body_sha256="b")), jobs))

    assert len({answer.job.id for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert stores.housekeeping.demand()["cpu"].waiting == 1


def test_every_write_grows_the_version(stores: Stores, new_job: NewJob) -> None:
    """Whoever holds an ETag learns of every change that a user can see."""
    versions = [submit(stores, new_job()).version]
    taken = claim(stores)
    versions.append(taken.job.version)
    for write in (
        lambda: stores.facts.report(taken, Report(metrics={"lr": 1.0})),
        lambda: stores.facts.report(taken, Report(phase="training")),
        lambda: stores.requests.cancel("default", taken.job.id),
        lambda: stores.attempts.finish(taken, SUCCEEDED),
    ):
        write()
        versions.append(stores.jobs.find("default", taken.job.id).version)

    assert versions == sorted(set(versions))


def test_the_list_pages_newest_first(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Pages follow each other without gap or repeat, also where jobs share a millisecond and new ones arrive meanwhile."""
    ids = []
    for number in range(25):
        ids.append(submit(stores, new_job()).id)
        clock.pass_by(number % 3 // 2)

    pages, cursor = [], None
    while True:
        page = stores.jobs.list("default", limit=10, cursor=cursor, **NO_FILTER)
        pages.append([job.id for job in page.jobs])
        submit(stores, new_job(created_at=clock.now()))
        clock.pass_by(1)
        cursor = page.next_cursor
        if cursor is None:
            break

    assert [len(page) for page in pages] == [10, 10, 5]
    assert [job_id for page in pages for job_id in page] == ids[::-1]


def test_the_list_is_filtered_by_state_label_and_name(stores: Stores, new_job: NewJob) -> None:
    """Filters join with and; states join with or; another project's jobs never show."""
    for number in range(6):
        submit(stores, new_job(labels={"odd": str(number % 2), "all": "yes"}, name=f"n{number // 2}"))
    submit(stores, new_job(project="other"))
    running = claim(stores).job

    def ids(**filters: object) -> list[str]:
        return [job.id for job in stores.jobs.list("default", limit=50, cursor=None, **{**NO_FILTER, **filters}).jobs]

    assert ids(states=(JobState.RUNNING,)) == [running.id]
    assert len(ids(states=(JobState.RUNNING, JobState.QUEUED))) == 6
    assert len(ids(labels={"odd": "1", "all": "yes"})) == 3
    assert ids(labels={"odd": "2"}) == []
    assert len(ids(name="n1", labels={"odd": "1"})) == 1


@pytest.mark.parametrize("cursor", ["nonsense", "é", "MTIz", "YTpi"])
def test_a_foreign_cursor_is_refused(stores: Stores, cursor: str) -> None:
    """A cursor that is not ours is a ValueError, not an empty page."""
    with pytest.raises(ValueError, match="cursor"):
        stores.jobs.list("default", limit=1, cursor=cursor, **NO_FILTER)


def test_what_stands_before_a_waiting_job_is_known(stores: Stores, new_job: NewJob) -> None:
    """What runs and what waits before it, in order; jobs of the other class do not matter."""
    submit(stores, new_job(device="gpu", project="theirs"))
    runs = submit(stores, new_job())
    claim(stores)
    known = Estimate(seconds_per_epoch=1.5)
    late, first, last = (submit(stores, new_job(priority=priority, estimate=known)) for priority in (0, 5, -5))

    ahead = stores.jobs.ahead(last, limit=2)
    assert ahead is not None
    assert [job.id for job in ahead.running] == [runs.id]
    assert [job.id for job in ahead.waiting] == [first.id, late.id]
    assert stores.jobs.ahead(last, limit=1) is None
    assert stores.jobs.ahead(runs, limit=2) is None
    submit(stores, new_job(priority=-1, estimate=Estimate(reason="none is like it")))
    assert stores.jobs.ahead(last, limit=3) is None


@pytest.mark.parametrize("runs", [False, True], ids=["waits", "runs"])
def test_where_projects_take_turns_nobody_knows_what_stands_before_a_job(stores: Stores, new_job: NewJob, runs: bool) -> None:
    """Another project's job that waits or runs in the class may go first or not."""
    submit(stores, new_job(project="theirs"))
    if runs:
        claim(stores)
    job = submit(stores, new_job())

    assert stores.jobs.ahead(job, limit=100) is None

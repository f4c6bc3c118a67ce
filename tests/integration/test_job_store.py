"""The life of a job in its store. One body of tests for Redis and for its twin in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from service.adapters import redis_jobs
from service.adapters.stores import Stores
from service.jobs.errors import IdempotencyConflict, IllegalTransition, JobNotFound, StoreUnavailable
from service.jobs.job import Exactness, Job, JobError, Progress
from service.jobs.ports import Claim, Idempotency, Outcome, Report, WorkerBeat
from service.jobs.state import JobState, Phase, Reason
from service.spec.verdict import Estimate, SpecWarning
from tests.integration.conftest import Clock
from tests.servers import running_valkey

NewJob = Callable[..., Job]
SUCCEEDED = Outcome(kind="succeeded")
NO_FILTER = {"states": (), "labels": {}, "name": None}


def submit(stores: Stores, job: Job, key: str | None = None, body: str = "b" * 64) -> Job:
    """Submit, and hand back the job as stored."""
    return stores.jobs.submit(job, idempotency=Idempotency(key=key, body_sha256=body) if key else None).job


def claim(stores: Stores, worker: str = "w1") -> Claim:
    """Claim on a CPU worker a job that must be there."""
    taken = stores.attempts.claim(worker=worker, device="cpu")
    assert taken is not None
    return taken


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


def test_twenty_claimers_take_five_jobs_once_each(stores: Stores, new_job: NewJob) -> None:
    """No job is claimed twice, and none is left."""
    ids = {submit(stores, new_job()).id for _ in range(5)}

    with ThreadPoolExecutor(20) as pool:
        claims = [taken for taken in pool.map(lambda n: stores.attempts.claim(worker=f"w{n}", device="cpu"), range(20)) if taken]

    assert sorted(taken.job.id for taken in claims) == sorted(ids)


def test_a_claim_starts_the_next_attempt(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A claimed job runs under its worker's name, in its first phase, with a token as old as the clock."""
    submit(stores, new_job())
    clock.pass_by(3)

    taken = claim(stores, "w7")

    job = stores.jobs.find("default", taken.job.id)
    assert job == taken.job
    assert (job.state, job.phase, job.owner, job.attempt) == (JobState.RUNNING, Phase.PREPARING, "w7", 1)
    assert (taken.token, job.started_at) == (clock.ms, clock.now())


def test_a_worker_claims_only_its_own_class(stores: Stores, new_job: NewJob) -> None:
    """A CPU worker leaves GPU jobs alone."""
    submit(stores, new_job(device="gpu"))

    assert stores.attempts.claim(worker="w", device="cpu") is None
    assert stores.attempts.claim(worker="w", device="gpu") is not None


def test_the_pending_order_is_priority_then_age(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Higher priority first, then older; positions say so from 1."""
    jobs = []
    for priority in (0, -100, 0, 100):
        jobs.append(submit(stores, new_job(priority=priority)))
        clock.pass_by(1)

    positions = [stores.jobs.position(job) for job in jobs]
    order = [claim(stores).job.id for _ in jobs]

    assert positions == [2, 4, 3, 1]
    assert order == [jobs[3].id, jobs[0].id, jobs[2].id, jobs[1].id]
    assert [stores.jobs.position(job) for job in jobs] == [None] * 4


def test_the_project_with_the_fewest_running_jobs_goes_first(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A project that posted a hundred jobs does not keep another's single one waiting."""
    for project in ("big", "big", "big", "small"):
        submit(stores, new_job(project=project))
        clock.pass_by(1)

    assert [claim(stores).job.project for _ in range(4)] == ["big", "small", "big", "big"]


def test_a_given_back_job_keeps_its_place(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A drained job goes on before jobs that were submitted later, with a higher token and no retry counted."""
    first = submit(stores, new_job())
    clock.pass_by(1)
    submit(stores, new_job())
    taken = claim(stores)

    state = stores.attempts.finish(taken, Outcome(kind="give_back", reason=Reason.DRAINED, counts=False))
    given_back = stores.jobs.find("default", first.id)
    again = claim(stores)

    assert (state, given_back.reason, given_back.retries, given_back.owner) == (JobState.QUEUED, Reason.DRAINED, 0, None)
    assert (again.job.id, again.job.attempt) == (first.id, 2)
    assert again.token > taken.token


def test_tokens_grow_though_the_clock_stands_or_goes_back(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A new attempt's token is always greater than the last one's."""
    submit(stores, new_job())
    tokens = []
    for seconds in (0, 0, -3600):
        clock.pass_by(seconds)
        taken = claim(stores)
        tokens.append(taken.token)
        stores.attempts.finish(taken, Outcome(kind="give_back", reason=Reason.DRAINED, counts=False))

    assert tokens == sorted(set(tokens))


def test_a_success_is_final(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A succeeded job has its time, no owner and no phase; cancelling it is refused and changes nothing."""
    submit(stores, new_job())
    taken = claim(stores)
    clock.pass_by(5)

    assert stores.attempts.finish(taken, SUCCEEDED) is JobState.SUCCEEDED
    job = stores.jobs.find("default", taken.job.id)
    with pytest.raises(IllegalTransition):
        stores.requests.cancel("default", job.id)

    assert (job.owner, job.phase, job.finished_at) == (None, None, clock.now())
    assert stores.jobs.find("default", job.id) == job


def test_a_failure_says_why(stores: Stores, new_job: NewJob) -> None:
    """A failed job carries the attempt's error and its code as the reason."""
    submit(stores, new_job())
    error = JobError(code=Reason.NAN_LOSS, message='The loss is "NaN" → Infinity', hint="Lower lr.")

    assert stores.attempts.finish(claim(stores), Outcome(kind="failed", error=error)) is JobState.FAILED

    job = stores.jobs.find("default", "job-0001")
    assert (job.error, job.reason) == (error, Reason.NAN_LOSS)


def test_retries_are_used_up(stores: Stores, new_job: NewJob) -> None:
    """After max_retries counted returns the next one fails the job, with the reason of that last return."""
    submit(stores, new_job(max_retries=2))

    states = [stores.attempts.finish(claim(stores), Outcome(kind="give_back", reason=Reason.TRAINER_LOST)) for _ in range(3)]

    job = stores.jobs.find("default", "job-0001")
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    assert (job.retries, job.attempt, job.reason) == (2, 3, Reason.TRAINER_LOST)
    assert job.error is not None
    assert job.error.code is Reason.TRAINER_LOST


def test_cancelling_a_waiting_job_ends_it(stores: Stores, new_job: NewJob) -> None:
    """A queued job is cancelled at once and claimed by nobody; cancelling it again is harmless."""
    job = submit(stores, new_job())

    cancelled = stores.requests.cancel("default", job.id)

    assert cancelled.state is JobState.CANCELLED
    assert stores.attempts.claim(worker="w", device="cpu") is None
    assert stores.requests.cancel("default", job.id) == cancelled


@pytest.mark.parametrize("kind", ["succeeded", "failed", "give_back", "cancelled"])
def test_a_cancel_flag_wins_over_every_outcome(stores: Stores, new_job: NewJob, kind: str) -> None:
    """A running job is flagged, its worker sees the flag, and whatever the attempt says it ends cancelled."""
    submit(stores, new_job())
    taken = claim(stores)

    flagged = stores.requests.cancel("default", taken.job.id)
    flags = stores.attempts.renew(taken)
    state = stores.attempts.finish(taken, Outcome(kind=kind, reason=Reason.STORAGE))

    assert (flagged.state, flagged.cancel_requested, flags.cancel) == (JobState.RUNNING, True, True)
    assert state is JobState.CANCELLED
    assert stores.jobs.find("default", taken.job.id).error is None


def test_cancelling_a_job_whose_lease_has_died_ends_it(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Nobody is left to read the flag, so the job ends there and then."""
    submit(stores, new_job())
    taken = claim(stores)
    clock.pass_by(61)

    assert stores.requests.cancel("default", taken.job.id).state is JobState.CANCELLED


def test_cancel_racing_finish_ends_in_one_terminal_state(stores: Stores, new_job: NewJob) -> None:
    """Two hundred times a user cancels while the attempt succeeds: each job ends once, and the record agrees with the answers."""
    for _ in range(200):
        submit(stores, new_job())
        taken = claim(stores)
        with ThreadPoolExecutor(2) as pool:
            cancelling = pool.submit(stores.requests.cancel, "default", taken.job.id)
            state = pool.submit(stores.attempts.finish, taken, SUCCEEDED).result()
        refused = isinstance(cancelling.exception(), IllegalTransition)

        job = stores.jobs.find("default", taken.job.id)
        assert job.state is state
        assert state is (JobState.SUCCEEDED if refused else JobState.CANCELLED)
        assert [step.state for step in job.transitions if step.state not in (JobState.QUEUED, JobState.RUNNING)] == [state]


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


def test_workers_are_known_until_they_leave(stores: Stores) -> None:
    """Beats are listed by name, the newest of each; who leaves is gone."""
    first = WorkerBeat(name="a", device="cpu", slots=2, busy=0, threads=1, versions={"torch": "2"}, jobs=["j"])
    stores.workers.beat(WorkerBeat(name="b", device="gpu", slots=1, busy=0, threads=1))
    stores.workers.beat(first)
    stores.workers.beat(WorkerBeat(name="a", device="cpu", slots=2, busy=1, threads=1))

    beats = stores.workers.workers()
    stores.workers.leave("a")

    assert [(beat.name, beat.busy) for beat in beats] == [("a", 1), ("b", 0)]
    assert [beat.name for beat in stores.workers.workers()] == ["b"]


def test_who_waits_learns_of_a_change(stores: Stores, new_job: NewJob) -> None:
    """A watch ends as soon as the job changes, whoever changes it, and times out when nothing happens."""

    async def story() -> tuple[bool, bool]:
        submit(stores, new_job())
        with stores.changes.watch("job-0001") as watch:
            while await watch.wait(0.5):
                pass  # the subscription's own false alarms
            threading.Thread(target=stores.requests.cancel, args=("default", "job-0001")).start()
            told = await watch.wait(20)
            return told, await watch.wait(0.05)

    assert asyncio.run(story()) == (True, False)


def test_a_job_that_changed_before_the_wait_is_told_at_once(stores: Stores, new_job: NewJob) -> None:
    """A watch that was entered before the first read misses nothing."""

    async def story() -> bool:
        submit(stores, new_job())
        with stores.changes.watch("job-0001") as watch:
            await asyncio.to_thread(stores.requests.cancel, "default", "job-0001")
            return await watch.wait(20)

    assert asyncio.run(story())


def test_a_redis_that_is_gone_is_unavailable(tmp_path: Path, new_job: NewJob) -> None:
    """Every call then raises StoreUnavailable, and nothing hangs."""
    with running_valkey(tmp_path) as url:
        stores = redis_jobs.connect(url)
        submit(stores, new_job())

    for ask in (stores.ping, stores.housekeeping.demand, stores.workers.workers, lambda: stores.jobs.find("default", "job-0001")):
        with pytest.raises(StoreUnavailable):
            ask()
    with pytest.raises(StoreUnavailable):
        submit(stores, new_job())
    stores.close()


def test_a_full_redis_takes_no_jobs_but_lets_the_others_end(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """From 80 % of maxmemory submits are refused; even beyond it attempts go on and end."""
    stores = redis_stores
    submit(stores, new_job())
    submit(stores, new_job())
    with redis.Redis.from_url(redis_url) as client:
        try:
            used = client.info("memory")["used_memory"]
            client.config_set("maxmemory", int(used / 0.85))
            with pytest.raises(StoreUnavailable, match="full"):
                submit(stores, new_job())
            client.config_set("maxmemory", used // 2)
            with pytest.raises(StoreUnavailable):
                submit(stores, new_job())
            taken = claim(stores)
            stores.attempts.renew(taken)
            stores.facts.report(taken, Report(row={"epoch": 1, "step": 1}, logs=["x"], events=[{"type": "note"}]))
            stores.workers.beat(WorkerBeat(name="a", device="cpu", slots=1, busy=1, threads=1))
            stores.housekeeping.expire()
            assert stores.requests.cancel("default", "job-0002").state is JobState.CANCELLED
            assert stores.attempts.finish(taken, SUCCEEDED) is JobState.SUCCEEDED
        finally:
            client.config_set("maxmemory", 0)


def test_a_spec_is_stored_once(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """A hundred jobs that differ in their names share their two specs."""
    for number in range(100):
        submit(redis_stores, new_job(name=str(number)))

    with redis.Redis.from_url(redis_url) as client:
        assert len(client.keys("ty:spec:*")) == 2
        assert client.xlen("ty:history") == 100


def test_calls_survive_a_flushed_script_cache(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """A Redis that forgot the scripts is taught them again."""
    submit(redis_stores, new_job())
    with redis.Redis.from_url(redis_url) as client:
        client.script_flush()

    assert claim(redis_stores).job.id == "job-0001"


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

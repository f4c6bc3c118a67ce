"""What users ask of a job: pause, resume, retry, delete. On both stores, with the worker in every place where it may be."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.stores import Stores
from service.jobs.errors import Fenced, IllegalTransition, JobNotFound, StillNeeded
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import attempts_prefix, checkpoint_prefix, record_key
from service.jobs.ports import Claim, Outcome, Report
from service.jobs.state import JobState, Reason
from tests.integration.conftest import LEASE, Clock

NewJob = Callable[..., Job]
LOST = Outcome(kind="give_back", reason=Reason.TRAINER_LOST)


def submitted(stores: Stores, job: Job) -> Job:
    """The job, waiting."""
    return stores.jobs.submit(job, idempotency=None).job


def claimed(stores: Stores) -> Claim:
    """The best job, taken."""
    taken = stores.attempts.claim(worker="w", device="cpu")
    assert taken is not None
    return taken


def commit(stores: Stores, claim: Claim, step: int, *, keep: int = 2) -> list[int]:
    """Commit a checkpoint; the steps of those that are kept no more."""
    prefix = checkpoint_prefix(claim.job.project, claim.job.id, claim.token, step)
    dropped = stores.attempts.checkpoint(claim, CheckpointPointer(token=claim.token, epoch=0, step=step, prefix=prefix), keep=keep)
    return [pointer.step for pointer in dropped]


def ended(stores: Stores, job: Job, *, step: int | None = None, kind: str = "failed") -> Job:
    """The job after one attempt that committed a checkpoint."""
    submitted(stores, job)
    claim = claimed(stores)
    if step is not None:
        commit(stores, claim, step)
    stores.attempts.finish(claim, Outcome(kind=kind))
    return stores.jobs.find(job.project, job.id)


def state(stores: Stores, job: Job) -> JobState:
    """Where the job stands."""
    return stores.jobs.find(job.project, job.id).state


def test_a_paused_job_waits_for_nobody_and_resumes_where_it_stood(stores: Stores, new_job: NewJob) -> None:
    """It leaves the pending order; resumed, it is first again, before what came later. Repeating either changes nothing."""
    first, second = submitted(stores, new_job()), submitted(stores, new_job())

    paused = stores.requests.pause("default", first.id)
    assert paused.state is JobState.PAUSED
    assert stores.requests.pause("default", first.id) == paused
    assert (stores.jobs.position(first), stores.jobs.position(second)) == (None, 1)

    resumed = stores.requests.resume("default", first.id)
    assert resumed.state is JobState.QUEUED
    assert stores.requests.resume("default", first.id) == resumed
    assert claimed(stores).job.id == first.id
    assert [step.state for step in resumed.transitions] == [JobState.QUEUED, JobState.PAUSED, JobState.QUEUED]


def test_a_running_job_is_paused_by_its_attempt(stores: Stores, new_job: NewJob) -> None:
    """The flag reaches the next renewal; the attempt that gives the job back finds it paused, with no retry counted."""
    submitted(stores, new_job())
    claim = claimed(stores)

    flagged = stores.requests.pause("default", claim.job.id)
    assert (flagged.state, flagged.pause_requested) == (JobState.RUNNING, True)
    assert stores.attempts.renew(claim).pause
    assert stores.attempts.finish(claim, Outcome(kind="give_back", reason=Reason.PAUSED, counts=False)) is JobState.PAUSED

    job = stores.jobs.find("default", claim.job.id)
    assert (job.state, job.retries, job.pause_requested, job.owner) == (JobState.PAUSED, 0, False, None)
    assert stores.attempts.claim(worker="w", device="cpu") is None


def test_a_pause_may_be_taken_back_while_the_job_still_runs(stores: Stores, new_job: NewJob) -> None:
    """The flag is gone; an attempt that stopped for it gives the job back to the queue."""
    submitted(stores, new_job())
    claim = claimed(stores)
    stores.requests.pause("default", claim.job.id)

    assert not stores.requests.resume("default", claim.job.id).pause_requested
    assert not stores.attempts.renew(claim).pause

    assert stores.attempts.finish(claim, Outcome(kind="give_back", reason=Reason.PAUSED, counts=False)) is JobState.QUEUED


@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        (Outcome(kind="succeeded"), JobState.SUCCEEDED),
        (Outcome(kind="failed"), JobState.FAILED),
        (LOST, JobState.PAUSED),
    ],
)
def test_a_pause_flag_never_undoes_an_end(stores: Stores, new_job: NewJob, outcome: Outcome, then: JobState) -> None:
    """An attempt that ended for good ends the job; one that was lost leaves it paused."""
    submitted(stores, new_job())
    claim = claimed(stores)
    stores.requests.pause("default", claim.job.id)

    assert stores.attempts.finish(claim, outcome) is then


def test_a_job_out_of_retries_fails_though_a_pause_was_asked(stores: Stores, new_job: NewJob) -> None:
    """No retries, no next attempt to pause for."""
    submitted(stores, new_job(max_retries=0))
    claim = claimed(stores)
    stores.requests.pause("default", claim.job.id)

    assert stores.attempts.finish(claim, LOST) is JobState.FAILED


def test_cancel_wins_over_pause(stores: Stores, new_job: NewJob) -> None:
    """Asked in either order, and of a paused job as well."""
    submitted(stores, new_job())
    claim = claimed(stores)
    stores.requests.pause("default", claim.job.id)
    stores.requests.cancel("default", claim.job.id)
    assert stores.attempts.finish(claim, Outcome(kind="give_back", reason=Reason.PAUSED, counts=False)) is JobState.CANCELLED

    paused = submitted(stores, new_job())
    stores.requests.pause("default", paused.id)
    assert stores.requests.cancel("default", paused.id).state is JobState.CANCELLED


def test_a_job_with_a_dead_lease_is_paused_at_once(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Nobody is there to heed a flag; the attempt that comes back is fenced."""
    submitted(stores, new_job())
    claim = claimed(stores)
    clock.pass_by(LEASE + 1)

    assert stores.requests.pause("default", claim.job.id).state is JobState.PAUSED

    with pytest.raises(Fenced):
        stores.attempts.renew(claim)


def test_an_expired_job_with_a_pause_flag_is_paused(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """The user's wish outlives the worker that should have heard it."""
    for _ in range(2 * LEASE // 5):
        stores.housekeeping.expire()
        clock.pass_by(5)
    submitted(stores, new_job())
    claim = claimed(stores)
    stores.requests.pause("default", claim.job.id)

    for _ in range(LEASE // 5 + 2):
        stores.housekeeping.expire()
        clock.pass_by(5)

    job = stores.jobs.find("default", claim.job.id)
    assert (job.state, job.reason, job.retries) == (JobState.PAUSED, Reason.WORKER_LOST, 1)


@pytest.mark.parametrize("ask", ["pause", "resume", "cancel"])
def test_an_ended_job_refuses(stores: Stores, new_job: NewJob, ask: str) -> None:
    """With its state; of another project it is not even found."""
    job = ended(stores, new_job())

    with pytest.raises(IllegalTransition, match="failed"):
        getattr(stores.requests, ask)("default", job.id)
    with pytest.raises(JobNotFound):
        getattr(stores.requests, ask)("theirs", job.id)


def test_checkpoints_fall_off_the_end(stores: Stores, new_job: NewJob) -> None:
    """So many as are kept, newest first; the caller hears which are not needed any more."""
    submitted(stores, new_job())
    claim = claimed(stores)

    assert [commit(stores, claim, step) for step in (1, 2, 3, 3, 2, 4)] == [[], [], [1], [], [], [2]]
    assert [pointer.step for pointer in stores.jobs.find("default", claim.job.id).checkpoints] == [4, 3]
    assert commit(stores, claim, 5, keep=1) == [4, 3]


def test_a_committed_checkpoint_makes_the_record_in_storage_old(stores: Stores, new_job: NewJob) -> None:
    """A rebuild starts from a record not older than a sweep."""
    submitted(stores, new_job())
    claim = claimed(stores)
    for job in stores.housekeeping.unsaved(10):
        stores.housekeeping.saved(job)

    commit(stores, claim, 1)

    assert [job.checkpoint.step for job in stores.housekeeping.unsaved(10) if job.checkpoint] == [1]


def retry_of(source: Job, job: Job) -> Job:
    """A retry, as the use case makes it."""
    return job.model_copy(update={"retry_of": source.id, "checkpoints": source.checkpoints, "token": source.token})


def test_a_retry_starts_from_the_old_jobs_checkpoint(stores: Stores, new_job: NewJob) -> None:
    """With the metric rows up to it, and a token above the old one; asked again while it lives, it is the answer."""
    source = ended(stores, new_job(), step=7)
    rows = [{"epoch": 1, "step": 5, "train_loss": 0.25}]
    retry = stores.jobs.submit(retry_of(source, new_job()), idempotency=None, rows=rows)
    again = stores.jobs.submit(retry_of(source, new_job()), idempotency=None)

    assert (retry.replayed, again.replayed, again.job.id) == (False, True, retry.job.id)
    claim = claimed(stores)
    assert claim.job.checkpoint == source.checkpoint
    assert claim.token > source.token
    stores.facts.report(claim, Report(row={"epoch": 1, "step": 5, "train_loss": 9.0}))
    stores.facts.report(claim, Report(row={"epoch": 2, "step": 10, "train_loss": 0.125}))
    assert stores.facts.metrics("default", claim.job.id) == [*rows, {"epoch": 2, "step": 10, "train_loss": 0.125}]

    stores.attempts.finish(claim, Outcome(kind="failed"))
    assert not stores.jobs.submit(retry_of(source, new_job()), idempotency=None).replayed


def test_a_job_whose_checkpoint_is_needed_stays(stores: Stores, new_job: NewJob) -> None:
    """Until the retry has one of its own; the borrowed one is not the retry's to remove."""
    source = ended(stores, new_job(), step=7)
    stores.jobs.submit(retry_of(source, new_job()), idempotency=None)
    claim = claimed(stores)

    with pytest.raises(StillNeeded, match=claim.job.id):
        stores.requests.delete("default", source.id)
    assert commit(stores, claim, 8, keep=1) == []
    stores.requests.delete("default", source.id)

    assert [pointer.token for pointer in stores.jobs.find("default", claim.job.id).checkpoints] == [claim.token]
    with pytest.raises(JobNotFound):
        stores.jobs.submit(retry_of(source, new_job()), idempotency=None)


def test_a_retry_that_ended_needs_nothing(stores: Stores, new_job: NewJob) -> None:
    """Its source may go."""
    source = ended(stores, new_job(), step=7)
    retry = stores.jobs.submit(retry_of(source, new_job()), idempotency=None).job
    stores.requests.cancel("default", retry.id)

    stores.requests.delete("default", source.id)

    with pytest.raises(JobNotFound):
        stores.jobs.find("default", source.id)


def test_a_retry_whose_borrowed_checkpoint_is_gone_starts_anew(stores: Stores, new_job: NewJob) -> None:
    """A retry that never had one of its own ended, and the job that it borrowed from was deleted: nothing points into that folder."""
    source = ended(stores, new_job(), step=7)
    first = stores.jobs.submit(retry_of(source, new_job()), idempotency=None).job
    stores.requests.cancel("default", first.id)
    stores.requests.delete("default", source.id)

    rows = [{"epoch": 1, "step": 5, "train_loss": 0.25}]
    second = stores.jobs.submit(retry_of(first, new_job()), idempotency=None, rows=rows).job

    assert (second.checkpoints, stores.facts.metrics("default", second.id)) == ((), [])
    claim = claimed(stores)
    assert claim.token > source.token
    stores.facts.report(claim, Report(row={"epoch": 0, "step": 1, "train_loss": 1.0}))
    assert len(stores.facts.metrics("default", second.id) or ()) == 1


def test_a_deleted_job_is_gone_at_once(stores: Stores, new_job: NewJob) -> None:
    """From the record, the list and the tail; a live one is refused."""
    live = submitted(stores, new_job())
    with pytest.raises(IllegalTransition, match="queued"):
        stores.requests.delete("default", live.id)
    stores.requests.cancel("default", live.id)

    stores.requests.delete("default", live.id)

    with pytest.raises(JobNotFound):
        stores.requests.delete("default", live.id)
    with pytest.raises(JobNotFound):
        stores.facts.events("default", live.id, after=0, limit=1)
    assert stores.jobs.list("default", limit=10, cursor=None, states=(), labels={}, name=None).jobs == []
    assert stores.disposal.deleted(10) == [("default", live.id)]


def test_specs_are_kept_while_a_job_names_them(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """Two jobs share one copy; the last to go takes it along. Of either stay the tombstone, the history, a count, and what expires."""
    stores = redis_stores
    jobs = [ended(stores, new_job(), kind="succeeded") for _ in range(2)]

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        stores.requests.delete("default", jobs[0].id)
        assert len(client.keys("ty:spec:*")) == 2
        assert stores.jobs.find("default", jobs[1].id) == jobs[1]
        stores.requests.delete("default", jobs[1].id)

        left = {key for key in client.keys("ty:*") if not key.startswith(("ty:claim:", "ty:worked:", "ty:gone:"))}
    assert left == {"ty:counts", "ty:deleted", "ty:history", "ty:successes"}


def put(artifacts: MemoryArtifacts, *keys: str) -> None:
    """Objects."""
    for key in keys:
        artifacts.put_bytes(key, b"x")


def test_a_sweep_removes_all_objects_of_a_deleted_job_twice(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """The second time ten leases later, for what a slow writer added; then the tombstone goes."""
    artifacts = MemoryArtifacts()
    job = ended(stores, new_job())
    put(artifacts, record_key("default", job.id), f"{attempts_prefix('default', job.id)}5/x", record_key("default", "another"))
    sweeper = stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell())
    stores.requests.delete("default", job.id)

    sweeper.sweep()
    assert [stored.key for stored in artifacts.list("")] == [record_key("default", "another")]
    put(artifacts, record_key("default", job.id))
    sweeper.sweep()
    assert len(artifacts.list("")) == 2
    clock.pass_by(10 * LEASE)
    sweeper.sweep()

    assert len(artifacts.list("")) == 1
    assert stores.disposal.deleted(10) == []
    clock.pass_by(100 * LEASE)
    assert stores.disposal.deleted(10) == []


def test_a_record_written_after_its_job_was_deleted_goes_too(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A slow sweeper that saves an old record starts the tombstone's work anew."""
    job = ended(stores, new_job())
    stores.requests.delete("default", job.id)
    for seconds in (0, 10 * LEASE):
        clock.pass_by(seconds)
        for place in stores.disposal.deleted(10):
            stores.disposal.erased(*place)
    assert stores.disposal.deleted(10) == []

    stores.housekeeping.saved(job)

    assert stores.disposal.deleted(10) == [("default", job.id)]


def test_leftovers_of_an_ended_job_are_collected(stores: Stores, new_job: NewJob) -> None:
    """Its kept checkpoints and whole artifacts stay; other attempts' files, older checkpoints and half artifacts go. A live job's stay."""
    artifacts = MemoryArtifacts()
    live = submitted(stores, new_job(priority=-1))
    put(artifacts, f"{attempts_prefix('default', live.id)}1/checkpoints/1/x")
    submitted(stores, new_job())
    claim = claimed(stores)
    commit(stores, claim, 4)
    folder = attempts_prefix("default", claim.job.id)
    mine = f"{folder}{claim.token}/"
    put(
        artifacts,
        f"{mine}checkpoints/4/model",
        f"{mine}checkpoints/3/model",
        f"{folder}17/checkpoints/9/model",
        f"{folder}17/artifacts/manifest.json",
    )
    put(artifacts, f"{mine}artifacts/model", f"{mine}artifacts/manifest.json")
    sweeper = stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell())
    sweeper.sweep()
    assert len(artifacts.list(folder)) == 6
    stores.attempts.finish(claim, Outcome(kind="succeeded"))

    sweeper.sweep()

    kept = [stored.key.removeprefix(mine) for stored in artifacts.list(folder)]
    assert kept == ["artifacts/manifest.json", "artifacts/model", "checkpoints/4/model"]
    assert len(artifacts.list(attempts_prefix("default", live.id))) == 1
    put(artifacts, f"{folder}17/checkpoints/11/model")
    stores.disposal.litter("default", claim.job.id)
    sweeper.sweep()
    assert len(artifacts.list(folder)) == 3


def test_artifacts_without_a_manifest_are_leftovers(stores: Stores, new_job: NewJob) -> None:
    """A job that failed while it uploaded keeps its checkpoint alone."""
    artifacts = MemoryArtifacts()
    job = ended(stores, new_job(), step=2)
    folder = f"{attempts_prefix('default', job.id)}{job.token}/"
    put(artifacts, f"{folder}artifacts/model", f"{folder}checkpoints/2/model")

    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()

    assert [stored.key.removeprefix(folder) for stored in artifacts.list(folder)] == ["checkpoints/2/model"]


def test_a_worker_leaves_jobs_of_a_newer_spec_to_newer_workers(stores: Stores, new_job: NewJob) -> None:
    """It takes the next that it understands; the other stays where it is."""
    newer = submitted(stores, new_job(resolved_spec={"spec_version": 2}))
    older = submitted(stores, new_job(resolved_spec={"spec_version": 1}))

    assert claimed(stores).job.id == older.id
    assert stores.attempts.claim(worker="w", device="cpu") is None
    assert (state(stores, newer), stores.jobs.position(newer)) == (JobState.QUEUED, 1)


def test_a_thousand_cancels_racing_the_end_agree_with_it(redis_stores: Stores, new_job: NewJob) -> None:
    """Each job has one terminal state, and it is the one that the answer to the cancel promised."""
    stores = redis_stores
    for _ in range(1000):
        stores.jobs.submit(new_job(), idempotency=None)
    claims = [claimed(stores) for _ in range(1000)]

    def cancels(claim: Claim) -> bool:
        try:
            stores.requests.cancel("default", claim.job.id)
        except IllegalTransition:
            return False
        return True

    def succeeds(claim: Claim) -> JobState:
        return stores.attempts.finish(claim, Outcome(kind="succeeded"))

    with ThreadPoolExecutor(8) as pool:
        racing = [(pool.submit(cancels, claim), pool.submit(succeeds, claim)) for claim in claims]
        ends = [(cancelled.result(), finished.result()) for cancelled, finished in racing]

    assert {(True, JobState.CANCELLED), (False, JobState.SUCCEEDED)} >= set(ends)
    assert [state(stores, claim.job) for claim in claims] == [end for _, end in ends]
    assert all(
        sum(step.state in (JobState.CANCELLED, JobState.SUCCEEDED) for step in stores.jobs.find("default", claim.job.id).transitions) == 1
        for claim in claims
    )

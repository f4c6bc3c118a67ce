"""Sweeping on real stores: records and tails reach storage, idle workers are woken, and many sweepers do no harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.stores import Stores
from service.jobs.errors import StorageUnavailable
from service.jobs.job import Job
from service.jobs.layout import events_key, job_prefix, logs_key, metrics_key, record_key
from service.jobs.ports import ArtifactStore, Claim, Outcome, Report, WorkerBeat
from service.jobs.state import JobState
from service.settings import StoreSettings
from tests.integration.conftest import LEASE, Clock
from tests.servers import S3Server

NewJob = Callable[..., Job]


def run_one(stores: Stores, job: Job) -> Claim:
    """A job that trained an epoch and succeeded."""
    stores.jobs.submit(job, idempotency=None)
    claim = stores.attempts.claim(worker="w", device="cpu")
    assert claim is not None
    stores.facts.report(claim, Report(row={"epoch": 1, "step": 2, "train_loss": 0.1}, logs=["hello", "wörld"], events=[{"type": "note"}]))
    stores.attempts.finish(claim, Outcome(kind="succeeded"))
    return claim


def read(artifacts: ArtifactStore, key: str) -> str:
    """An object as text."""
    return b"".join(artifacts.open(key)).decode()


def idle(stores: Stores, name: str, *, slots: int, busy: int = 0) -> None:
    """A CPU worker with so many slots says that it lives."""
    stores.workers.beat(WorkerBeat(name=name, device="cpu", slots=slots, busy=busy, threads=1))


def test_an_ended_job_is_saved_with_its_tail(stores: Stores, new_job: NewJob) -> None:
    """job.json, events.jsonl, metrics.jsonl and logs.txt of an ended job lie in storage, equal to what the store tells."""
    artifacts = MemoryArtifacts()
    claim = run_one(stores, new_job())

    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()

    place = ("default", claim.job.id)
    assert Job.model_validate_json(read(artifacts, record_key(*place))) == stores.jobs.find(*place)
    events = [json.loads(line) for line in read(artifacts, events_key(*place)).splitlines()]
    assert events == list(stores.facts.events(*place, after=0, limit=100) or ())
    assert [json.loads(line) for line in read(artifacts, metrics_key(*place)).splitlines()] == [{"epoch": 1, "step": 2, "train_loss": 0.1}]
    assert read(artifacts, logs_key(*place)) == "hello\nwörld\n"
    assert stores.housekeeping.unsaved(10) == []


def test_a_waiting_job_is_saved_without_a_tail(stores: Stores, new_job: NewJob) -> None:
    """Soon after submit the record alone lies in storage."""
    artifacts = MemoryArtifacts()
    job = stores.jobs.submit(new_job(), idempotency=None).job

    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()

    assert [found.key for found in artifacts.list(job_prefix("default", job.id))] == [record_key("default", job.id)]


def test_the_live_tail_of_a_saved_job_expires(redis_stores: Stores, redis_url: str, new_job: NewJob) -> None:
    """Within the hour after they were saved events, rows and logs leave Redis; the record stays; a later sweep wipes nothing."""
    stores, artifacts = redis_stores, MemoryArtifacts()
    claim = run_one(stores, new_job())
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()
    tail = [f"ty:job:{claim.job.id}:{part}" for part in ("events", "rows", "logs")]

    with redis.Redis.from_url(redis_url) as client:
        assert all(0 < client.ttl(key) <= 3600 for key in tail)
        client.delete(*tail)
        client.zadd("ty:unsaved", {claim.job.id: 1})
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()

    assert stores.facts.events("default", claim.job.id, after=0, limit=1) is None
    assert stores.facts.metrics("default", claim.job.id) is None
    assert stores.facts.logs("default", claim.job.id) is None
    assert stores.jobs.find("default", claim.job.id).state is JobState.SUCCEEDED
    assert read(artifacts, logs_key("default", claim.job.id)) == "hello\nwörld\n"


def test_an_old_record_written_late_is_written_again(stores: Stores, new_job: NewJob) -> None:
    """A slow sweeper that saves an old version makes the job unsaved once more: the last write is the newest record."""
    stores.jobs.submit(new_job(), idempotency=None)
    (old,) = stores.housekeeping.unsaved(10)
    stores.requests.cancel("default", old.id)
    (new,) = stores.housekeeping.unsaved(10)
    stores.housekeeping.saved(new)
    assert stores.housekeeping.unsaved(10) == []

    stores.housekeeping.saved(old)

    assert [job.state for job in stores.housekeeping.unsaved(10)] == [JobState.CANCELLED]


def test_a_record_that_redis_forgot_puts_nothing_away(stores: Stores, new_job: NewJob) -> None:
    """Its number was given again when Redis came up without its newest writes: the job of that number stays whole, and is saved itself."""
    claim = run_one(stores, new_job())
    (ended,) = stores.housekeeping.unsaved(10)
    forgotten = ended.model_copy(update={"state": JobState.RUNNING, "finished_at": None, "token": ended.token + 1})

    stores.housekeeping.saved(forgotten)

    assert stores.housekeeping.unsaved(10) == [ended]
    assert stores.jobs.find("default", claim.job.id) == ended
    stores.housekeeping.saved(ended)
    assert stores.housekeeping.unsaved(10) == []


def test_what_is_written_beside_a_lost_record_is_kept(stores: Stores, new_job: NewJob) -> None:
    """Redis was lost while a sweeper wrote the record and a worker trained: storage has all that is left, so none of it is removed."""
    lost = new_job()

    stores.housekeeping.saved(lost)
    stores.disposal.litter(lost.project, lost.id)

    assert stores.disposal.deleted(10) == []


def test_what_is_written_beside_a_deleted_record_goes(stores: Stores, clock: Clock, new_job: NewJob) -> None:
    """A sweeper and a fenced worker that wrote after the job's objects were removed: they are removed again."""
    job = run_one(stores, new_job()).job
    (read,) = stores.housekeeping.unsaved(10)
    stores.requests.delete(job.project, job.id)
    for write in (lambda: stores.housekeeping.saved(read), lambda: stores.disposal.litter(job.project, job.id)):
        for _ in range(2):
            stores.disposal.erased(job.project, job.id)
            clock.pass_by(11 * LEASE)
        assert stores.disposal.deleted(10) == []

        write()

        assert stores.disposal.deleted(10) == [(job.project, job.id)]


def test_a_ring_wakes_no_more_than_work_or_slots(stores: Stores, new_job: NewJob) -> None:
    """min(pending, idle slots) per class; none where nobody is idle or nothing waits."""

    def rung() -> dict[str, int]:
        doorbell = MemoryDoorbell()
        stores.sweeper(artifacts=MemoryArtifacts(), doorbell=doorbell).ring()
        return dict(doorbell.rung)

    idle(stores, "a", slots=4, busy=3)
    assert rung() == {}
    for _ in range(5):
        stores.jobs.submit(new_job(), idempotency=None)
    stores.jobs.submit(new_job(device="gpu"), idempotency=None)
    assert rung() == {"cpu": 1}
    idle(stores, "b", slots=2)
    assert rung() == {"cpu": 3}
    idle(stores, "c", slots=40)
    assert rung() == {"cpu": 5}


def test_three_sweepers_at_once_do_no_harm(redis_stores: Stores, new_job: NewJob, s3: S3Server, clock: Clock) -> None:
    """On real servers: dead leases are given back once, every record in storage is the newest, and nothing stays unsaved."""
    stores, artifacts = redis_stores, S3Artifacts(_settings(s3))
    artifacts.ensure_bucket()
    for _ in range(20):
        stores.housekeeping.expire()
        clock.pass_by(5)
    ended = [run_one(stores, new_job(project="sweep")).job.id for _ in range(5)]
    lost = []
    for _ in range(5):
        stores.jobs.submit(new_job(project="sweep"), idempotency=None)
        claim = stores.attempts.claim(worker="w", device="cpu")
        assert claim is not None
        lost.append(claim.job.id)
    for _ in range(LEASE // 5 + 1):
        stores.housekeeping.expire()
        clock.pass_by(5)

    for _ in range(2):  # a write that came late is put right by the next round
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep(), range(3)))

    assert [stores.jobs.find("sweep", job_id).retries for job_id in lost] == [1] * 5
    assert stores.housekeeping.unsaved(100) == []
    for job_id in ended + lost:
        saved = Job.model_validate_json(read(artifacts, record_key("sweep", job_id)))
        assert saved == stores.jobs.find("sweep", job_id)


def test_storage_that_is_gone_stops_no_ring_and_no_expiry(stores: Stores, new_job: NewJob) -> None:
    """Jobs start and come back while S3 is away; their records wait."""

    class Gone(MemoryArtifacts):
        def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/json") -> None:
            raise StorageUnavailable(f"{key} {len(data)} {content_type}")

    doorbell = MemoryDoorbell()
    stores.jobs.submit(new_job(), idempotency=None)
    idle(stores, "a", slots=1)

    with pytest.raises(StorageUnavailable):
        stores.sweeper(artifacts=Gone(), doorbell=doorbell).sweep()

    assert doorbell.rung == {"cpu": 1}
    assert len(stores.housekeeping.unsaved(10)) == 1


def _settings(server: S3Server) -> StoreSettings:
    return StoreSettings(s3_endpoint_url=server.endpoint_url, aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key)

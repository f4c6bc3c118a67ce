"""Two versions of this code on one store: what a newer one wrote is read, handed on and never lost; what it alone understands is left to it."""

from __future__ import annotations

import json

import pytest
import redis

from service.adapters import redis_jobs
from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.redis_scripts import FORMAT
from service.adapters.stores import Stores
from service.jobs.errors import NewerFormat
from service.jobs.job import Job
from service.jobs.layout import record_key
from service.jobs.ports import Outcome, Report, WorkerBeat
from service.jobs.state import JobState, Reason
from service.rebuilding import rebuild
from service.spec.job import SPEC_VERSION
from service.spec.verdict import SpecWarning
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit


def swept(stores: Stores, artifacts: MemoryArtifacts) -> None:
    """One round of a sweeper."""
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()


def stored(artifacts: MemoryArtifacts, job: Job) -> dict[str, object]:
    """The record in storage."""
    return json.loads(b"".join(artifacts.open(record_key(job.project, job.id))))


def test_a_job_that_is_left_to_newer_workers_says_so_until_one_takes_it(
    stores: Stores, new_job: NewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason and a warning with the cure, told once however often it is passed over; both are gone once it runs."""
    job = submit(stores, new_job(resolved_spec={"spec_version": SPEC_VERSION + 1}))

    assert stores.attempts.claim(worker="old", device="cpu") is None
    waits = stores.jobs.find("default", job.id)
    assert stores.attempts.claim(worker="old", device="cpu") is None

    assert (waits.state, waits.reason) == (JobState.QUEUED, Reason.WAITING_FOR_WORKER)
    assert [warning.code for warning in waits.warnings] == ["newer_spec"]
    assert f"up to version {SPEC_VERSION} " in waits.warnings[0].detail
    assert stores.jobs.find("default", job.id) == waits
    events = stores.facts.events("default", job.id, after=0, limit=10) or ()
    assert [event["type"] for event in events] == ["state", "warning"]
    assert job.id in {each.id for each in stores.housekeeping.unsaved(10)}

    for module in ("redis_attempts", "memory.attempts"):
        monkeypatch.setattr(f"service.adapters.{module}.SPEC_VERSION", SPEC_VERSION + 1)
    taken = claim(stores, "new").job

    assert (taken.id, taken.reason, taken.warnings) == (job.id, None, ())


def test_what_a_newer_version_added_to_a_record_outlives_an_older_ones_writing(
    redis_stores: Stores, redis_url: str, new_job: NewJob
) -> None:
    """Keys in the record, in a warning and in progress, and a reason: in what is read, in storage, in what is put away, and after a rebuild."""
    stores, artifacts = redis_stores, MemoryArtifacts()
    job = submit(stores, new_job(warnings=(SpecWarning(code="c", detail="d", learn_more="/docs"),)))
    attempt = claim(stores)
    with redis.Redis.from_url(redis_url) as newer:
        newer.hset(
            f"ty:job:{job.id}", mapping={"accelerators": '{"asked": 2}', "progress": '{"epoch":1,"samples":640}', "script_note": "no JSON"}
        )
        swept(stores, artifacts)
        running = stored(artifacts, job)
        stores.attempts.finish(attempt, Outcome(kind="failed", reason=Reason("too_warm")))
        swept(stores, artifacts)
        assert newer.exists(f"ty:job:{job.id}:ended")
        put_away = stores.jobs.find("default", job.id)
        newer.flushdb()
    rebuild(artifacts=artifacts, rebuilding=stores.rebuilding, datasets=stores.datasets, access=stores.access)

    for told in (
        running,
        put_away.model_dump(mode="json"),
        stored(artifacts, job),
        stores.jobs.find("default", job.id).model_dump(mode="json"),
    ):
        assert told["accelerators"] == {"asked": 2}
        assert told["warnings"] == [{"pointer": "", "code": "c", "detail": "d", "suggestion": None, "fix": None, "learn_more": "/docs"}]
        assert "script_note" not in told
    assert running["progress"]["samples"] == 640
    assert put_away.reason == put_away.error.code == "too_warm"
    assert stores.jobs.find("default", job.id).reason == Reason("too_warm")


def test_what_an_older_version_did_not_write_has_a_default() -> None:
    """A record with no more than its first keys."""
    record = {"id": "job-1", "spec": {"epochs": 1}, "created_at": "2026-01-01T00:00:00Z"}

    assert Job.model_validate_json(json.dumps(record)).state is JobState.QUEUED


def test_every_field_that_scripts_write_is_known_here(redis_stores: Stores, new_job: NewJob) -> None:
    """After a whole life, with a retry, nothing of our own is taken for a newer version's."""
    stores = redis_stores
    job = submit(stores, new_job(resolved_spec={"dataset": {"type": "Digits"}}))
    attempt = claim(stores)
    events = [{"type": "first_step", "message": "", "data": {}}]
    stores.facts.report(
        attempt, Report(phase="training", progress={"epoch": 1}, inexact="out_of_memory", row={"epoch": 1, "step": 2}, events=events)
    )
    stores.attempts.finish(attempt, Outcome(kind="give_back", reason=Reason.TRAINER_LOST))
    assert stores.jobs.find("default", job.id).model_extra == {}
    stores.attempts.finish(claim(stores), Outcome(kind="failed", reason=Reason.USER_CODE))
    submit(stores, new_job(retry_of=job.id))

    assert stores.jobs.find("default", job.id).model_extra == {}


def test_a_worker_of_another_version_is_a_worker(redis_stores: Stores, redis_url: str) -> None:
    """What a newer one tells besides is not read; what an older one does not tell has a default."""
    beat = WorkerBeat(name="w", device="cpu", slots=2, busy=1, threads=1)
    redis_stores.workers.beat(beat)
    with redis.Redis.from_url(redis_url) as other:
        told = json.loads(other.get("ty:worker:w"))
        other.set(
            "ty:worker:w", json.dumps({**{name: told[name] for name in ("name", "device", "slots", "busy", "threads")}, "humidity": 40})
        )

    assert redis_stores.workers.workers()[0].slots == 2
    assert redis_stores.housekeeping.demand()["cpu"].idle == 1


def test_keys_of_a_newer_format_are_not_touched(redis_url: str) -> None:
    """An older version says so with the cure; new keys are marked with its own format, and its own are admitted again."""
    stores = redis_jobs.connect(redis_url)
    with redis.Redis.from_url(redis_url) as other:
        stores.admit()
        assert int(other.get("ty:format")) == FORMAT
        stores.admit()
        other.set("ty:format", FORMAT + 1)

        with pytest.raises(NewerFormat, match=r"keys of format 2.*knows 1.*upgrade\.md"):
            stores.admit()
    stores.close()


def test_a_job_ends_though_its_scripts_are_of_two_versions(redis_stores: Stores, new_job: NewJob, redis_url: str) -> None:
    """A field between two calls that neither knows stays where it is."""
    job = submit(redis_stores, new_job())
    with redis.Redis.from_url(redis_url) as other:
        other.hset(f"ty:job:{job.id}", "later", '"kept"')
        redis_stores.attempts.finish(claim(redis_stores), SUCCEEDED)

        assert other.hget(f"ty:job:{job.id}", "later") == b'"kept"'

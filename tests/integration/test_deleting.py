"""Readers of a job that is being deleted, on a real Valkey."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from service.adapters.stores import Stores
from service.jobs.errors import JobNotFound
from service.jobs.job import Job
from service.jobs.ports import Outcome, Report


def test_who_reads_while_a_job_is_deleted_finds_all_of_it_or_nothing(redis_stores: Stores, new_job: Callable[..., Job]) -> None:
    """Four readers of forty jobs: every answer is the whole record or that there is none, and once gone a job stays so."""
    stores = redis_stores
    jobs = [_ended(stores, new_job()) for _ in range(40)]
    done = Event()

    def reads(_: int) -> list[list[Job | None]]:
        rounds = []
        while not done.is_set():
            rounds.append([_found(stores, job.id) for job in jobs])
        return [*rounds, [_found(stores, job.id) for job in jobs]]

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(reads, range(4))
        for job in jobs:
            stores.requests.delete("default", job.id)
        done.set()
    seen = [round for reader in answers for round in reader]

    assert all(found in (None, whole) for round in seen for found, whole in zip(round, jobs, strict=True))
    assert any(None in round and set(round) != {None} for round in map(_ids, seen))
    assert seen[-1] == [None] * len(jobs)


def _ids(round: list[Job | None]) -> list[str | None]:
    return [job and job.id for job in round]


def _ended(stores: Stores, job: Job) -> Job:
    stores.jobs.submit(job, idempotency=None)
    claim = stores.attempts.claim(worker="w", device="cpu")
    assert claim is not None
    stores.facts.report(claim, Report(metrics={"train_loss": 0.5}, row={"epoch": 1, "step": 2}, logs=["hello"]))
    stores.attempts.finish(claim, Outcome(kind="succeeded"))
    return stores.jobs.find("default", job.id)


def _found(stores: Stores, job_id: str) -> Job | None:
    try:
        return stores.jobs.find("default", job_id)
    except JobNotFound:
        return None

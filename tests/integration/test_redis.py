"""What only a real Redis can do: be gone, be full, forget its scripts, keep a spec once."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from service.adapters import redis_jobs
from service.adapters.stores import Stores
from service.jobs.errors import StoreUnavailable
from service.jobs.ports import Report, WorkerBeat
from service.jobs.state import JobState
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit
from tests.servers import running_valkey


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

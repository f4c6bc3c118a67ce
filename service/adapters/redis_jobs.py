"""Jobs in Redis as users see them, and `connect`, which opens every store that Redis stands behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import redis

from service.adapters.redis_attempts import RedisAttempts
from service.adapters.redis_changes import RedisChanges
from service.adapters.redis_disposal import RedisDisposal, RedisRebuilding
from service.adapters.redis_facts import RedisFacts
from service.adapters.redis_housekeeping import RedisHousekeeping, RedisWorkers
from service.adapters.redis_records import fresh_fields, job_of, packed, row_texts
from service.adapters.redis_requests import RedisRequests
from service.adapters.redis_scripts import SOCKET_SECONDS, Scripts, open_client, our_errors
from service.adapters.stores import AGAIN_LEASES, SWEEP_SECONDS, Cursor, Stores, to_ms
from service.jobs.errors import IdempotencyConflict, JobNotFound, StoreUnavailable
from service.jobs.job import Job
from service.jobs.ports import Ahead, Idempotency, Page, Submitted
from service.jobs.state import JobState

SCAN_BATCH = 200


def connect(
    url: str,
    *,
    lease_seconds: float = 60,
    sweep_seconds: float = SWEEP_SECONDS,
    project_slots: int = 0,
    socket_seconds: float = SOCKET_SECONDS,
    now_ms: Callable[[], int] | None = None,
) -> Stores:
    """Every store behind one Redis. Nothing is sent before the first call.

    `project_slots` limits the running jobs of a project (0: no limit); `now_ms` replaces Redis's clock in tests.
    """
    client = open_client(url, socket_seconds=socket_seconds)
    scripts = Scripts(client, now_ms=now_ms)

    def ping() -> None:
        with our_errors():
            client.ping()

    return Stores(
        jobs=RedisJobs(scripts),
        requests=RedisRequests(scripts),
        attempts=RedisAttempts(scripts, lease_seconds=lease_seconds, project_slots=project_slots),
        facts=RedisFacts(scripts),
        housekeeping=RedisHousekeeping(scripts, lease_seconds=lease_seconds, sweep_seconds=sweep_seconds),
        disposal=RedisDisposal(scripts, again_seconds=AGAIN_LEASES * lease_seconds),
        rebuilding=RedisRebuilding(scripts),
        workers=RedisWorkers(scripts),
        changes=RedisChanges(url),
        ping=ping,
        close=client.close,
    )


class RedisJobs:
    """The JobStore."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._client: redis.Redis = scripts.client

    def submit(self, job: Job, *, idempotency: Idempotency | None, rows: Sequence[Mapping[str, Any]] = ()) -> Submitted:
        """Store the job and put it in the pending order, in one step. Raises IdempotencyConflict.

        `rows` are metric rows that it starts with. With `retry_of`, a living retry of the same job is the answer.
        """
        digests, blobs = packed(job)
        record = json.dumps(fresh_fields(job, digests, rows))
        key, body = (idempotency.key, idempotency.body_sha256) if idempotency else ("", "")
        answer = self._scripts.call("submit", job.id, job.project, record, to_ms(job.created_at), key, body, row_texts(rows), *blobs)
        match answer:
            case [b"full"]:
                raise StoreUnavailable("Redis is nearly full; no new jobs are taken until some have ended.")
            case [b"gone", bytes(source)]:
                raise JobNotFound(source.decode())
            case [b"conflict", bytes(first)]:
                raise IdempotencyConflict(key, job_id=first.decode())
        return Submitted(job=job_of(answer[1]), replayed=answer[0] == b"replayed")

    def find(self, project: str, job_id: str) -> Job:
        """The job as it is now. Raises JobNotFound."""
        for job in self._read([job_id]):
            if job.project == project:
                return job
        raise JobNotFound(job_id)

    def list(
        self, project: str, *, limit: int, cursor: str | None, states: Sequence[JobState], labels: Mapping[str, str], name: str | None
    ) -> Page:
        """One page, newest first. Raises ValueError for a cursor that is not ours."""
        after = Cursor.parse(cursor) if cursor else None
        found: list[Cursor] = []
        for places in self._newest_first(project, after):
            found += self._matching(places, states=states, labels=labels, name=name)
            if len(found) > limit:
                break
        page = found[:limit]
        return Page(jobs=self._read([place.job_id for place in page]), next_cursor=str(page[-1]) if found[limit:] else None)

    def position(self, job: Job) -> int | None:
        """Where the job stands in its project's pending order, from 1; None unless it waits."""
        with our_errors():
            rank = cast("int | None", self._client.zrank(f"ty:pending:{job.device}:{job.project}", job.id))
        return None if rank is None else rank + 1

    def ahead(self, job: Job, *, limit: int) -> Ahead | None:
        """What has to end before the job starts; None where it does not wait, has more than `limit` before it, or other projects take turns."""
        with our_errors(), self._client.pipeline() as pipeline:
            pipeline.zrange(f"ty:pending:{job.device}:{job.project}", 0, limit)
            pipeline.smembers(f"ty:waiting:{job.device}")
            pipeline.zrange("ty:leases", 0, -1)
            pending, projects, leased = pipeline.execute()
        if job.id.encode() not in pending or projects != {job.project.encode()}:
            return None
        running = [other for other in self._read(leased) if other.device == job.device and other.state is JobState.RUNNING]
        if any(other.project != job.project for other in running):
            return None
        return Ahead(running=running, waiting=self._read(pending[: pending.index(job.id.encode())]))

    def _read(self, ids: Sequence[str | bytes]) -> Sequence[Job]:
        return [job_of(job) for job in self._scripts.call("read", *ids) if job] if ids else []

    def _newest_first(self, project: str, after: Cursor | None) -> Iterator[Sequence[Cursor]]:
        key, newest = f"ty:jobs:{project}", "+inf" if after is None else str(after.created_ms)
        offset = 0
        while True:
            with our_errors():
                batch: Any = self._client.zrevrangebyscore(key, newest, "-inf", start=offset, num=SCAN_BATCH, withscores=True)
            places = [Cursor(int(score), job_id.decode()) for job_id, score in batch]
            yield [place for place in places if after is None or place < after]
            if len(places) < SCAN_BATCH:
                return
            offset += SCAN_BATCH

    def _matching(
        self, places: Sequence[Cursor], *, states: Sequence[JobState], labels: Mapping[str, str], name: str | None
    ) -> Sequence[Cursor]:
        if not (states or labels or name is not None):
            return places
        with our_errors():
            pipeline = self._client.pipeline(transaction=False)
            for place in places:
                pipeline.hmget(f"ty:job:{place.job_id}", "state", "name", "labels")
            rows = pipeline.execute()

        def matches(state: bytes | None, its_name: bytes, its_labels: bytes) -> bool:
            if state is None or (states and state.decode() not in states) or (name is not None and its_name.decode() != name):
                return False
            its: dict[str, str] = json.loads(its_labels)
            return labels.items() <= its.items()

        return [place for place, row in zip(places, rows, strict=True) if matches(*row)]

"""Jobs in Redis as users see them, and `connect`, which opens every store that Redis stands behind."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, cast

import redis
from pydantic_core import from_json, to_json

from service.access.quota import NO_QUOTA, Quota
from service.adapters.redis_access import RedisAccess
from service.adapters.redis_accounts import RedisAccounts, exceeded
from service.adapters.redis_attempts import RedisAttempts
from service.adapters.redis_audit import RedisAudit
from service.adapters.redis_changes import RedisChanges
from service.adapters.redis_datasets import RedisDatasets
from service.adapters.redis_disposal import RedisDisposal, RedisRebuilding
from service.adapters.redis_facts import RedisFacts
from service.adapters.redis_housekeeping import DEVICES, RedisHousekeeping, RedisWorkers
from service.adapters.redis_intake import RedisIntake
from service.adapters.redis_monitor import RedisMonitor
from service.adapters.redis_outbox import RedisOutbox, RedisSecrets
from service.adapters.redis_rates import RedisRates
from service.adapters.redis_records import Packed, end_of, fresh_fields, job_of, own_fields, packed, shared_fields, tails
from service.adapters.redis_requests import RedisRequests
from service.adapters.redis_scripts import SOCKET_SECONDS, Scripts, admit, open_client, our_errors
from service.adapters.redis_stamps import RedisStamps
from service.adapters.stores import AGAIN_LEASES, SWEEP_SECONDS, Stores, from_ms, to_ms
from service.jobs.errors import DatasetNotFound, IdempotencyConflict, JobNotFound, Outdated, StoreUnavailable
from service.jobs.job import Device, Job, Transition
from service.jobs.listing import SORTED_AMONG, Cursor, Order, Summary, Wanted
from service.jobs.ports import NONE, Ahead, Idempotency, Outlook, Page, Queue, Submitted
from service.jobs.state import TERMINAL, JobState
from service.jobs.steps import Step

SCAN_BATCH = 500
"""Jobs whose summaries are read at a time: a millisecond or two of Redis."""
SHAPES_KEPT = 1000


def connect(
    url: str,
    *,
    lease_seconds: float = 60,
    sweep_seconds: float = SWEEP_SECONDS,
    quota: Quota = NO_QUOTA,
    socket_seconds: float = SOCKET_SECONDS,
    now_ms: Callable[[], int] | None = None,
) -> Stores:
    """Every store behind one Redis. Nothing is sent before the first call.

    `quota` is that of projects that have none of their own; `now_ms` replaces Redis's clock in tests.
    """
    client = open_client(url, socket_seconds=socket_seconds)
    scripts = Scripts(client, now_ms=now_ms)

    def ping() -> None:
        with our_errors(url=url):
            client.exists("ty:leases")  # PING would say nothing of the user's rights

    jobs = RedisJobs(scripts, quota=quota)
    return Stores(
        jobs=jobs,
        intake=RedisIntake(url, jobs, seconds=socket_seconds),
        stamps=RedisStamps(url, scripts, seconds=socket_seconds),
        requests=RedisRequests(scripts),
        attempts=RedisAttempts(scripts, lease_seconds=lease_seconds, quota=quota),
        facts=RedisFacts(scripts),
        housekeeping=RedisHousekeeping(scripts, lease_seconds=lease_seconds, sweep_seconds=sweep_seconds),
        disposal=RedisDisposal(scripts, again_seconds=AGAIN_LEASES * lease_seconds),
        rebuilding=RedisRebuilding(scripts),
        datasets=RedisDatasets(scripts),
        workers=RedisWorkers(scripts),
        access=RedisAccess(scripts),
        accounts=RedisAccounts(scripts, quota=quota),
        audit=RedisAudit(scripts),
        rates=RedisRates(url, scripts, seconds=socket_seconds),
        outbox=RedisOutbox(scripts),
        secrets=RedisSecrets(scripts),
        changes=RedisChanges(url),
        monitor=RedisMonitor(scripts),
        admit=partial(admit, client),
        ping=ping,
        close=client.close,
    )


class RedisJobs:
    """The JobStore. `quota`: of projects that have none of their own."""

    def __init__(self, scripts: Scripts, *, quota: Quota = NO_QUOTA) -> None:
        self._scripts, self._quota = scripts, quota.model_dump_json()
        self._client: redis.Redis = scripts.client
        self._finished: dict[str, dict[str, Job]] = {}
        self._shapes: OrderedDict[tuple[str, str | None], tuple[Packed, bytes]] = OrderedDict()
        """By a spec and an outlook: the specs as they are stored, and what of the records is the same, as JSON."""

    def submit(
        self,
        job: Job,
        *,
        idempotency: Idempotency | None,
        rows: Sequence[Mapping[str, Any]] = (),
        steps: Sequence[Step] = (),
        outlook: Outlook | None = None,
    ) -> Submitted:
        """Store the job and put it in the pending order, in one step. Raises IdempotencyConflict, and Outdated where `outlook` is.

        `rows` are metric rows, and `steps` logged steps, that it starts with. With `retry_of`, a living retry of the same job is the answer.
        """
        digests, blobs = packed(job)
        record, told = to_json(fresh_fields(job, digests, rows, steps)), tails(rows, steps)
        answer = self._scripts.call(
            "submit", *_submission(job, blobs, record, idempotency=idempotency, told=told, outlook=outlook, quota=self._quota)
        )
        return self.submitted(answer, job, idempotency=idempotency)

    def submission(
        self, job: Job, *, shape: str, idempotency: Idempotency | None, outlook: Outlook | None
    ) -> Sequence[str | bytes | float]:
        """The command that `submit` sends, for who sends it another way."""
        place = (shape, outlook.stamp if outlook else None)
        known = self._shapes.get(place)
        if known is None:
            specs = packed(job)
            self._shapes[place] = known = specs, to_json(shared_fields(job, specs[0]))
            while len(self._shapes) > SHAPES_KEPT:
                self._shapes.popitem(last=False)
        specs, shared = known
        # two JSON objects as one: jobs of a sweep share the first
        record = shared[:-1] + b"," + to_json(own_fields(job))[1:]
        return self._scripts.command(
            "submit", *_submission(job, specs[1], record, idempotency=idempotency, outlook=outlook, quota=self._quota)
        )

    def submitted(self, answer: Any, job: Job, *, idempotency: Idempotency | None) -> Submitted:
        """What SUBMIT answered. Raises what it refused with."""
        match answer:
            case bytes(told):
                version, now_ms, place, idle = map(int, told.split())
                queued = _queued(job, version=version, at=from_ms(now_ms))
                return Submitted(job=queued, replayed=False, position=place + 1, rings=bool(idle))
            case [b"changed", bytes(told), changed]:
                _, _, place, idle = map(int, told.split())
                return Submitted(job=job_of(changed), replayed=False, position=place + 1, rings=bool(idle))
            case [b"outdated"]:
                raise Outdated
            case [b"full"]:
                raise StoreUnavailable("Redis is nearly full; no new jobs are taken until some have ended.")
            case [b"no_dataset", bytes(upload)]:
                raise DatasetNotFound(*upload.decode().split("/"))
            case [b"quota", *_]:
                raise exceeded(answer)
            case [b"gone", bytes(source)]:
                raise JobNotFound(source.decode())
            case [b"conflict", bytes(first)]:
                raise IdempotencyConflict(idempotency.key if idempotency else "", job_id=first.decode())
        return Submitted(job=job_of(answer[1]), replayed=answer[0] == b"replayed")

    def outlook(self, project: str, *, limit: int) -> Outlook:
        """How things are now, with so many finished jobs."""
        known = self._finished.get(project, {})
        stamp, newest, unknown = self._scripts.call("outlook", project, limit, *known)
        jobs = known | {job.id: job for job in map(job_of, unknown)}
        self._finished[project] = {job_id.decode(): jobs[job_id.decode()] for job_id in newest}
        seen = dict(word.partition(":")[::2] for word in stamp.decode().split())
        devices, gpus = frozenset(device for device in DEVICES if device in seen), int(seen.get("gpu") or 0)
        return Outlook(stamp=stamp.decode(), devices=devices, job_gpus=gpus, finished=list(self._finished[project].values()))

    def find(self, project: str, job_id: str) -> Job:
        """The job as it is now. Raises JobNotFound."""
        for job in self._read([job_id]):
            if job.project == project:
                return job
        raise JobNotFound(job_id)

    def list(
        self,
        project: str,
        *,
        limit: int,
        cursor: str | None,
        states: Sequence[JobState] = (),
        labels: Mapping[str, str] = NONE,
        name: str | None = None,
        text: str | None = None,
        sort: str = "created_at",
    ) -> Page:
        """One page, newest first, or sorted as `listing.Order` says. Raises ValueError for a sort or cursor that is not ours."""
        wanted, order = Wanted(labels=labels, name=name, text=text), Order.parse(sort)
        among = states or tuple(JobState)
        if order.is_newest_first:
            after = Cursor.parse(cursor) if cursor else None
            places = self._newest_first(project, among, after, batch=limit + 1 if wanted.is_anything else SCAN_BATCH)
            if not wanted.is_anything:
                places = (each.place for each in self._matching(places, wanted, order))
            found = list(islice(places, limit + 1))
            page, following = found[:limit], str(found[limit - 1]) if found[limit:] else None
            return Page(jobs=self._read([place.job_id for place in page]), next_cursor=following)
        everywhere = self._newest_first(project, among, None, batch=SCAN_BATCH)
        matches = list(islice(self._matching(everywhere, wanted, order), SORTED_AMONG + 1))
        page, following = order.page(matches[:SORTED_AMONG], after=cursor, limit=limit)
        only = SORTED_AMONG if matches[SORTED_AMONG:] else None
        return Page(jobs=self._read([place.job_id for place in page]), next_cursor=following, only_newest=only)

    def counts(self, project: str) -> Mapping[JobState, int]:
        """How many jobs are in each state."""
        with our_errors(), self._client.pipeline(transaction=False) as pipeline:
            for state in JobState:
                pipeline.zcard(f"ty:jobs:{project}:{state}")
            return dict(zip(JobState, pipeline.execute(), strict=True))

    def position(self, job: Job) -> int | None:
        """Where the job stands in its project's pending order, from 1; None unless it waits."""
        with our_errors():
            rank = cast("int | None", self._client.zrank(f"ty:pending:{job.device}:{job.project}", job.id))
        return None if rank is None else rank + 1

    def ahead(self, job: Job, *, limit: int) -> Ahead | None:
        """What has to end before the job starts.

        None where it does not wait, more than `limit` are before it or one that has no estimate, or other projects take turns.
        """
        found = self._scripts.call("ahead", job.id, job.project, job.device, limit, self._quota)
        if not found:
            return None
        running, waiting, most = found
        return Ahead(running=[job_of(other) for other in running], waiting=[job_of(other) for other in waiting], most=most or None)

    def queue(self, project: str, device: Device, *, limit: int) -> Queue:
        """What waits and runs in a class, `limit` of what waits."""
        waiting, running, first, alone, most = self._scripts.call("queue", project, device, limit, self._quota)
        jobs, held = [job_of(job) for job in first], [job_of(job) for job in running]
        return Queue(waiting=waiting, jobs=jobs, running=held, alone=bool(alone), most=most or None)

    def _read(self, ids: Sequence[str | bytes]) -> Sequence[Job]:
        return [job_of(job) for job in self._scripts.call("read", *ids) if job] if ids else []

    def _newest_first(self, project: str, states: Sequence[JobState], after: Cursor | None, *, batch: int) -> Iterator[Cursor]:
        """The places in the lists of these states, as one list."""
        newest = "+inf" if after is None else str(after.created_ms)
        keys = [f"ty:jobs:{project}:{state}" for state in dict.fromkeys(states)]
        with our_errors():
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.zrevrangebyscore(key, newest, "-inf", start=0, num=batch, withscores=True)
            firsts = pipeline.execute()
        lists = [self._onwards(key, newest, first, batch=batch) for key, first in zip(keys, firsts, strict=True)]
        return (place for place in heapq.merge(*lists, reverse=True) if after is None or place < after)

    def _onwards(self, key: str, newest: str, found: Any, *, batch: int) -> Iterator[Cursor]:
        """The places of one list, its first batch given."""
        offset = 0
        while True:
            yield from (Cursor(int(score), job_id.decode()) for job_id, score in found)
            if len(found) < batch:
                return
            offset += batch
            with our_errors():
                found = self._client.zrevrangebyscore(key, newest, "-inf", start=offset, num=batch, withscores=True)

    def _matching(self, places: Iterator[Cursor], wanted: Wanted, order: Order) -> Iterator[Summary]:
        """Those of the places whose jobs will do, with what they are sorted by."""
        while batch := list(islice(places, SCAN_BATCH)):
            rows = from_json(self._scripts.call("summaries", order.metric or "", *(place.job_id for place in batch)))
            found = [_summary(place, row, order) for place, row in zip(batch, rows, strict=True) if row[3]]
            matching = [each for each in found if wanted.has(each)]
            yield from self._with_ends(matching) if order.metric or order.key == "finished_at" else matching

    def _with_ends(self, found: Sequence[Summary]) -> Iterator[Summary]:
        """With what was put away of those that have ended."""
        ended = [f"ty:job:{each.place.job_id}:ended" for each in found if each.state in TERMINAL and each.finished_ms is None]
        with our_errors():
            blobs: Any = iter(self._client.mget(ended) if ended else ())
        for each in found:
            blob = next(blobs) if each.state in TERMINAL and each.finished_ms is None else None
            if blob is None:
                yield each
                continue
            finished_ms, metrics = end_of(blob)
            yield replace(each, finished_ms=finished_ms, metrics=metrics)


def _summary(place: Cursor, row: Sequence[Any], order: Order) -> Summary:
    name, labels, kinds, state, finished, value = row
    return Summary(
        place=place,
        state=JobState(state),
        name=name or "",
        labels=from_json(labels) if labels and labels != "{}" else NONE,
        kinds=kinds or "",
        finished_ms=int(finished) if finished else None,
        metrics={order.metric: from_json(value)} if order.metric and value else {},
    )


def _submission(
    job: Job,
    blobs: Sequence[str | bytes],
    record: bytes,
    *,
    idempotency: Idempotency | None,
    told: str = "",
    outlook: Outlook | None,
    quota: str,
) -> Sequence[str | bytes | float]:
    """What SUBMIT is called with."""
    key, body = (idempotency.key, idempotency.body_sha256) if idempotency else ("", "")
    seen = outlook.stamp if outlook else ""
    return job.id, job.project, record, to_ms(job.created_at), key, body, told, seen, quota, *blobs


def _queued(job: Job, *, version: int, at: datetime) -> Job:
    """The job as SUBMIT stored it."""
    first = Transition.model_construct(state=JobState.QUEUED, phase=None, at=at, reason=job.reason)
    return job.model_copy(update={"transitions": (first,), "version": version})

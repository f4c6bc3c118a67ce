"""Judges a run by what it left behind: the history stream, the records, the pending order, storage. Pure but for `look`."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis

from service.adapters.redis_jobs import RedisJobs
from service.adapters.redis_records import kept_fields
from service.adapters.redis_scripts import Scripts
from service.jobs.layout import artifacts_prefix, attempt_prefix
from service.jobs.state import TERMINAL, TRANSITIONS, JobState

if TYPE_CHECKING:
    from tests.e2e.faults.house import House

Moment = Mapping[str, str]
"""An entry of ty:history: id, at, and for a step state, phase, reason, token; for a checkpoint kind, token, step and (who moved it) by."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Everything that is judged, read once nothing moves any more."""

    accepted: Sequence[str]
    """Ids that were answered with 202."""
    history: Sequence[Moment]
    """In the order in which Valkey did it."""
    records: Mapping[str, Mapping[str, str]]
    pending: frozenset[str] = frozenset()
    leases: frozenset[str] = frozenset()
    running: frozenset[str] = frozenset()
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Succeeded jobs whose manifest cannot be read or does not verify, and why."""


def violations(seen: Seen) -> list[str]:
    """What must never be and is; empty where all is well."""
    of_job: dict[str, list[Moment]] = defaultdict(list)
    for moment in seen.history:
        of_job[moment["id"]].append(moment)
    found = [fault for id in seen.accepted for fault in _of_one(id, of_job[id], seen)]
    found += [f"{id}: nobody was told of this job" for id in of_job.keys() - set(seen.accepted)]
    return found + [f"{id}: succeeded, but {why}" for id, why in seen.damaged.items()]


def _of_one(id: str, moments: Sequence[Moment], seen: Seen) -> Iterator[str]:
    record = seen.records.get(id)
    if record is None:
        yield f"{id}: accepted, and gone"
        return
    ends = [moment["state"] for moment in moments if moment.get("state") in TERMINAL]
    if len(ends) != 1:
        yield f"{id}: ended {len(ends)} times {ends}"
    yield from _misplaced(id, record["state"], seen)
    for fault in (*_moves(moments, record["state"]), *_tokens(moments), *_owners(moments), *_pointers(moments)):
        yield f"{id}: {fault}"


def _moves(moments: Sequence[Moment], at_last: str) -> Iterator[str]:
    """Every move is in the table, nothing follows an end, and the record stands where the history ends."""
    state: str | None = None
    for moment in moments:
        if state in TERMINAL and moment.get("kind", "state") in ("state", "phase", "checkpoint"):
            yield f"{moment} came after it had ended {state}"
        new = moment.get("state", state)
        if state is not None and new != state and new not in TRANSITIONS[JobState(state)]:
            yield f"moved from {state} to {new}"
        state = new
    if state != at_last:
        yield f"the record says {at_last}, the history {state}"


def _claims(moments: Sequence[Moment]) -> Iterator[tuple[Moment, Moment | None]]:
    """Each claim, with the moment of the attempt that still ran then, which must not be."""
    last: Moment | None = None
    for moment in moments:
        if moment.get("state") == JobState.RUNNING and (last is None or last["token"] != moment["token"]):
            yield moment, last
        if "state" in moment:
            last = moment if moment["state"] == JobState.RUNNING else None


def _tokens(moments: Sequence[Moment]) -> Iterator[str]:
    """Each attempt's token is larger than all before, and an attempt begins only when no other holds the job."""
    newest = 0
    for claim, running in _claims(moments):
        token = int(claim["token"])
        if token <= newest:
            yield f"token {token} was given after {newest}"
        if running is not None:
            yield f"attempt {token} began while {running['token']} held the lease"
        newest = max(newest, token)


def _owners(moments: Sequence[Moment]) -> Iterator[str]:
    """What an attempt writes, it writes while it holds the job."""
    holder: str | None = None
    newest = 0
    for moment in moments:
        writer = moment.get("by", moment.get("token"))
        if moment.get("state") == JobState.RUNNING:
            if holder is not None and writer != holder and int(writer or 0) < newest:
                yield f"attempt {writer} wrote {moment} after {newest} had begun"
            holder, newest = writer, max(newest, int(writer or 0))
        elif moment.get("kind") == "checkpoint":
            if writer != holder:
                yield f"attempt {writer} moved the checkpoint while {holder or 'nobody'} held the job"
        elif "state" in moment:
            if holder is not None and writer != holder:
                yield f"attempt {writer} ended the job while {holder} held it"
            holder = None


def _pointers(moments: Sequence[Moment]) -> Iterator[str]:
    """The checkpoint moves forward only."""
    before = (0, 0)
    for moment in moments:
        if moment.get("kind") == "checkpoint":
            now = (int(moment["token"]), int(moment["step"]))
            if now <= before:
                yield f"the checkpoint moved from {before} to {now}"
            before = max(before, now)


def _misplaced(id: str, state: str, seen: Seen) -> Iterator[str]:
    places = {"pending": JobState.QUEUED, "leases": JobState.RUNNING, "running": JobState.RUNNING}
    for place, wanted in places.items():
        there = id in getattr(seen, place)
        if there != (state == wanted):
            yield f"{id}: is {state} and {'in' if there else 'not in'} {place}"


# --- reading it


def look(house: House, accepted: Sequence[str]) -> Seen:
    """What a run left behind, read behind the proxies."""
    store = house.redis
    records = {id: record for id in accepted if (record := _record(store, id))}
    succeeded = [record for record in records.values() if record["state"] == JobState.SUCCEEDED]
    damage = {record["id"]: _damage(house, record) for record in succeeded}
    return Seen(
        accepted=accepted,
        history=[moment for _, moment in store.xrange("ty:history")],
        records=records,
        pending=_members(store.zrange(key, 0, -1) for key in store.scan_iter("ty:pending:*")),
        leases=frozenset(store.zrange("ty:leases", 0, -1)),
        running=_members(store.smembers(key) for key in store.scan_iter("ty:running:*")),
        damaged={id: why for id, why in damage.items() if why},
    )


def _record(store: redis.Redis, id: str) -> dict[str, str]:
    """The record as text, also of an ended job that was put away."""
    record = store.hgetall(f"ty:job:{id}")
    if not store.exists(f"ty:job:{id}:ended"):
        return {"id": id, **record} if record else {}
    with redis.Redis(port=store.connection_pool.connection_kwargs["port"]) as binary:
        job = RedisJobs(Scripts(binary)).find(record["project"], id)
    return kept_fields(job, (record["spec"], record.get("resolved", "")), (), ()) | record | {"id": id}


def _members(lists: Iterable[Iterable[str]]) -> frozenset[str]:
    return frozenset(member for each in lists for member in each)


def _damage(house: House, record: Mapping[str, str]) -> str | None:
    prefix = artifacts_prefix(record["project"], record["id"], int(record["token"]))
    bodies = {key: house.read(key) for key in house.keys(prefix)}
    if prefix + "manifest.json" not in bodies:
        return "it has no manifest"
    for file in json.loads(bodies[prefix + "manifest.json"])["files"]:
        body = bodies.get(prefix + file["path"])
        if body is None or hashlib.sha256(body).hexdigest() != file["sha256"]:
            return f"{file['path']} is {'gone' if body is None else 'damaged'}"
    return None


def orphans(house: House, seen: Seen) -> list[str]:
    """Keys of attempts that nothing names: not the last attempt's results, not a checkpoint that the record holds on to."""
    found = []
    for id, record in seen.records.items():
        named = [artifacts_prefix(record["project"], id, int(record["token"])), *_checkpoints(record)]
        attempts = attempt_prefix(record["project"], id, 0).removesuffix("0/")
        found += [key for key in house.keys(attempts) if not key.startswith(tuple(named))]
    return found


def _checkpoints(record: Mapping[str, str]) -> list[str]:
    """The prefixes of the pointer, of what it falls back to, and of the best."""
    texts = [record.get("checkpoint", ""), *record.get("checkpoints", "").split("\n"), record.get("best", "")]
    pointers = [json.loads(text) for text in texts if text]
    return [pointer["prefix"] for pointer in pointers if isinstance(pointer, dict) and "prefix" in pointer]

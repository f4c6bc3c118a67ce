"""What Redis's keys must say of each other, whatever happened before: the record is the truth, and every index agrees with it."""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import redis

from service.adapters.redis_records import ENDED
from service.adapters.stores import WORKED_KEPT
from service.jobs.state import TERMINAL, TRANSITIONS, JobState

PRIORITY_STEP = 2**42
TOLD = (b"ty:delivery:", b"ty:outbox", b"ty:sending:", b"ty:unreachable:")
"""What is to be told of jobs is compared with the twin's."""
_PARTS = ("metrics", "transitions", "events", "rows", "steps", "logs", "borrowers")


@dataclass
class Keys:
    """Every key of ours, by what it is."""

    records: dict[str, dict[str, str]] = field(default_factory=dict)
    parts: dict[str, dict[str, object]] = field(default_factory=lambda: defaultdict(dict))
    """Of each job: what stands beside its record, also where there is no record."""
    pending: dict[str, dict[str, float]] = field(default_factory=dict)
    waiting: dict[str, set[str]] = field(default_factory=dict)
    running: dict[str, set[str]] = field(default_factory=dict)
    listed: dict[str, set[str]] = field(default_factory=dict)
    worked: dict[str, list[str]] = field(default_factory=dict)
    specs: set[str] = field(default_factory=set)
    others: dict[str, object] = field(default_factory=dict)
    """The rest, by its name without the prefix."""


def look(client: redis.Redis) -> Keys:
    """All of it, read in one transaction."""
    names = [name for name in client.keys("ty:*") if not name.startswith((b"ty:spec:", b"ty:claim:", b"ty:gone:", b"ty:history", *TOLD))]
    with client.pipeline() as pipeline:
        for name in names:
            _read(pipeline, name.decode())
        found = Keys(specs={name.decode().split(":")[2] for name in client.keys("ty:spec:*")})
        for name, value in zip(names, pipeline.execute(), strict=True):
            _sort(found, name.decode(), value)
    for id, parts in found.parts.items():
        if id in found.records and "ended" in parts:
            found.records[id] = parts["ended"] | found.records[id]
            parts["transitions"] = parts["ended"]["transitions"]
    return found


def taken_out(blob: bytes) -> dict[str, object]:
    """What was put away of an ended job, as if it still stood in its hash."""
    record = json.loads(zlib.decompressobj(wbits=-15, zdict=ENDED).decompress(blob).split(b"\n")[0])
    lines = ["|".join((step["state"], step.get("phase") or "", "", step.get("reason") or "")) for step in record["transitions"]]
    unset = {"retries_since_checkpoint": "0", "owner": "", "priority": "0", "submitted": "0", "device": "cpu", "borrowed_from": ""}
    return {"max_retries": "2", **unset, **record, "transitions": lines}


def _read(pipeline: redis.client.Pipeline, name: str) -> None:
    _, kind, *rest = name.split(":")
    match kind, rest[1:]:
        case ("stored" | "gpu_ms" | "projects", _):
            pipeline.hgetall(name)
        case ("reserved", _):
            pipeline.zrange(name, 0, -1, withscores=True)
        case ("job", []) | ("job", ["metrics"]) | ("passes", _) | ("spec_uses" | "rate", _) | ("successes" | "counts", _):
            pipeline.hgetall(name)
        case ("worked", _):
            pipeline.lrange(name, 0, -1)
        case ("job", ["transitions" | "rows" | "steps" | "logs" | "deliveries"]):
            pipeline.lrange(name, 0, -1)
        case ("job", ["events"]):
            pipeline.xrange(name)
        case ("job", ["borrowers" | "gone"]) | ("waiting" | "running", _):
            pipeline.smembers(name)
        case ("pending" | "leases" | "unsaved" | "garbage" | "deleted" | "jobs" | "workers" | "live" | "idle", _):
            pipeline.zrange(name, 0, -1, withscores=True)
        case _:
            pipeline.get(name)


def _sort(found: Keys, name: str, value: object) -> None:
    _, kind, *rest = name.split(":")
    if rest[1:] == ["ended"]:
        found.parts[rest[0]]["ended"] = taken_out(value)
        return
    told = _text(value)
    match kind, rest:
        case "job", [job_id]:
            found.records[job_id] = told
        case "job", [job_id, part]:
            found.parts[job_id][part] = told
        case "pending", [device, project]:
            found.pending[f"{device}:{project}"] = dict(told)
        case (("waiting" | "running" | "worked"), [of]):
            getattr(found, kind)[of] = told
        case "jobs", [project, state]:
            found.listed[f"{project}:{state}"] = {job_id for job_id, _ in told}
        case _:
            found.others[name.removeprefix("ty:")] = dict(told) if isinstance(told, list) else told


def _text(value: object) -> object:
    match value:
        case bytes():
            return value.decode()
        case dict():
            return {_text(key): _text(each) for key, each in value.items()}
        case list() | tuple() | set():
            return type(value)(_text(each) for each in value)
        case _:
            return value


def faults(keys: Keys) -> list[str]:
    """Whatever does not agree; empty where all is well."""
    return [
        *_indexes(keys),
        *_worked(keys),
        *_specs(keys),
        *_leftovers(keys),
        *_accounts(keys),
        *(fault for id in keys.records for fault in _of_record(id, keys)),
    ]


def _indexes(keys: Keys) -> Iterator[str]:
    """Every list holds just the jobs whose record says so."""
    state, project = ({id: record[name] for id, record in keys.records.items()} for name in ("state", "project"))
    for place, jobs in (("pending", keys.pending), ("running", keys.running), ("jobs", keys.listed)):
        wanted = defaultdict(set)
        for id, record in keys.records.items():
            if place == "jobs":
                wanted[f"{project[id]}:{state[id]}"].add(id)
            elif state[id] == {"pending": JobState.QUEUED, "running": JobState.RUNNING}[place]:
                wanted[f"{record['device']}:{project[id]}" if place == "pending" else project[id]].add(id)
        there = {key: set(ids) for key, ids in jobs.items()}
        if there != wanted:
            yield f"{place} holds {there}, not {dict(wanted)}"
    if (leased := set(keys.others.get("leases", {}))) != {id for id, each in state.items() if each == JobState.RUNNING}:
        yield f"leases are held for {leased}"
    for device in ("cpu", "gpu"):
        wanting = {key.partition(":")[2] for key in keys.pending if key.startswith(device)}
        if keys.waiting.get(device, set()) != wanting:
            yield f"of {wanting} with pending {device} jobs, {keys.waiting.get(device)} are known to wait"


def _worked(keys: Keys) -> Iterator[str]:
    """An attempt that a worker has not ended holds its job; no worker has more of them than are kept."""
    for worker, entries in keys.worked.items():
        if len(entries) > WORKED_KEPT:
            yield f"{worker} remembers {len(entries)} attempts"
        for entry in entries:
            id, token, _, ended = entry.split("|")
            record = keys.records.get(id, {})
            if not ended and (record.get("owner"), record.get("token")) != (worker, token):
                yield f"{worker} is said to be at {id}, which has {record.get('owner')!r} and token {record.get('token')}"


def _specs(keys: Keys) -> Iterator[str]:
    """Each spec is there once for as long as a record names it, and its uses are counted."""
    named = Counter(record[name] for record in keys.records.values() for name in ("spec", "resolved") if record[name])
    counted = {digest: int(uses) for digest, uses in keys.others.get("spec_uses", {}).items()}
    if counted != named:
        yield f"specs are named {dict(named)} times, and counted {counted} times"
    if keys.specs != set(named):
        yield f"specs are kept that nobody names, or the other way round: {keys.specs ^ set(named)}"


def _leftovers(keys: Keys) -> Iterator[str]:
    """Of a job without a record nothing is left but its tombstone."""
    places = {f"{record['project']}/{id}" for id, record in keys.records.items()}
    for id, parts in keys.parts.items():
        if id not in keys.records:
            yield f"{id} is gone, but for {sorted(parts)}"
    if strangers := set(keys.others.get("unsaved", {})) - set(keys.records):
        yield f"{strangers} are to be saved, and gone"
    due = {f"{name}:{place}" for name in ("garbage", "deleted") for place in keys.others.get(name, {})}
    if strangers := set(keys.others.get("passes", {})) - due:
        yield f"passes are counted for {strangers}, which nobody looks at again"
    if living := places & set(keys.others.get("deleted", {})):
        yield f"{living} have a tombstone and live"


def _accounts(keys: Keys) -> Iterator[str]:
    """A project's bytes are those of its owners."""
    sums = {name.removeprefix("stored:"): each for name, each in keys.others.items() if name.startswith("stored:")}
    for project, told in keys.others.get("stored", {}).items():
        owners = sums.pop(project, {})
        if int(told) != sum(map(int, owners.values())):
            yield f"{project} is said to have {told} bytes, its owners have {owners}"
    if sums:
        yield f"{sums} are nobody's"


def _of_record(id: str, keys: Keys) -> Iterator[str]:
    """One job's own rules."""
    record, parts = keys.records[id], keys.parts[id]
    if int(record["retries_since_checkpoint"]) > int(record["max_retries"]):
        yield f"{id} had {record['retries_since_checkpoint']} retries of {record['max_retries']}"
    if bool(record.get("owner")) != (record["state"] == JobState.RUNNING):
        yield f"{id} is {record['state']} and owned by {record.get('owner')!r}"
    score = -int(record["priority"]) * PRIORITY_STEP + int(record["submitted"])
    if keys.pending.get(f"{record['device']}:{record['project']}", {}).get(id, score) != score:
        yield f"{id} stands at the wrong place in its pending order"
    yield from _moves(id, record["state"], [line.split("|")[0] for line in parts["transitions"]])
    places = [(row["epoch"], row["step"]) for row in map(json.loads, parts.get("rows", ()))]
    if places != sorted(set(places)):
        yield f"{id} has its rows out of order, or twice: {places}"
    steps = [json.loads(row)[0] for row in parts.get("steps", ())]
    if steps != sorted(set(steps)) or (steps and steps[-1] != int(record.get("told_step", steps[-1]))):
        yield f"{id} has its logged steps out of order, or twice, or counts others: {steps}, {record.get('told_step')}"
    events = [int(entry.partition("-")[0]) for entry, _ in parts.get("events", ())]
    if events != list(range(1, len(events) + 1)):
        yield f"{id} has gaps in its events: {events}"
    for borrower in parts.get("borrowers", ()):
        other = keys.records.get(borrower)
        if other is None or other["state"] in TERMINAL or other["borrowed_from"] != id:
            yield f"{id} is kept for {borrower}, which does not need it"
    home = record["borrowed_from"]
    if home and record["state"] not in TERMINAL and id not in keys.parts.get(home, {}).get("borrowers", ()):
        yield f"{id} starts from a checkpoint of {home}, which does not know"


def _moves(id: str, at_last: str, states: list[str]) -> Iterator[str]:
    if states[0] != JobState.QUEUED or states[-1] != at_last:
        yield f"{id} is {at_last} after {states}"
    for before, after in pairwise(states):
        if after not in TRANSITIONS[JobState(before)] and not before == after == JobState.RUNNING:
            yield f"{id} moved from {before} to {after}"

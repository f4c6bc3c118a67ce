"""A job as the fields of a Redis hash, and back. The Lua calls own the fields that change with the state.

A field that a newer version added is handed on unread: it has the name that it has in the record, and its value as JSON (ADR 19).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from service.adapters.stores import exactness, finite, from_ms, to_ms
from service.jobs.job import Best, CheckpointPointer, Endpoint, Job, JobError, Progress, Transition
from service.jobs.listing import kinds_of
from service.jobs.steps import Step, Steps
from service.spec.notify import placed
from service.spec.verdict import Estimate, SpecWarning

OWN = ("name", "labels", "seed", "notify")
"""What jobs of a sweep differ in: kept with each, so that they share the rest of their specs."""
ENDED = b'{"name":null,"labels":{},"state":"succeeded","reason":null,"phase":null,"attempt":1,"retries":0,"max_retries":2,"warnings":[{"pointer":"/resources/device","code":"no_capable_worker","detail":"No cpu worker is running now; the job waits for one.","suggestion":"trainyard worker --device cpu"}],"error":{"code":"trainer_lost","message":"The attempt ended (","hint":"Retries count since the last checkpoint: raise resources.max_retries, or checkpoint more often."},"exactness":{"exact":false,"reasons":["hardware_changed"]},"best":{"monitor":"val_accuracy","value":0.9,"epoch":5,"step":100},"estimate":{"seconds_per_epoch":1.5,"reason":"No finished job here trained this model on this kind of samples, with this batch size and as many threads.","memory_bytes":1000000},"dataset_digest":"","progress":{"epoch":10,"epochs":10,"step":1000,"steps":1000,"percent":100.0,"eta_seconds":0.0},"metrics":{"val_loss":0.1,"val_accuracy":0.9,"test_loss":0.1,"test_accuracy":0.9,"peak_memory_bytes":400000000.0,"train_loss":0.1,"train_accuracy":0.9,"lr":0.001,"samples_per_second":10000.0},"created_at":"2026-01-01T00:00:00.000000Z","started_at":"2026-01-01T00:00:00.000000Z","finished_at":"2026-01-01T00:00:00.000000Z","transitions":[{"state":"queued","at":"2026-01-01T00:00:00.000000Z"},{"state":"running","phase":"preparing","at":"2026-01-01T00:00:00.000000Z"},{"state":"running","phase":"training","at":"2026-01-01T00:00:00.000000Z"},{"state":"running","phase":"evaluating","at":"2026-01-01T00:00:00.000000Z"},{"state":"running","phase":"exporting","at":"2026-01-01T00:00:00.000000Z"},{"state":"running","phase":"uploading","at":"2026-01-01T00:00:00.000000Z"},{"state":"succeeded","at":"2026-01-01T00:00:00.000000Z"}],"token":1700000000000,"checkpoints":[{"token":1700000000000,"epoch":10,"step":1000,"prefix":"projects/default/jobs/job_019/attempts/1700000000000/checkpoints/1000/"}],"version":20}'
"""The words that records of ended jobs are made of. Never to be changed: what was compressed by it can be read by it alone."""


def pack(spec: Mapping[str, Any]) -> tuple[str, bytes]:
    """Digest (of the canonical JSON) and compressed JSON of a spec without what is its own."""
    return _packed(_compact({name: None if name in OWN else value for name, value in spec.items()}))


@lru_cache(maxsize=1024)
def _packed(text: str) -> tuple[str, bytes]:
    canonical = json.dumps(json.loads(text), separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest(), zlib.compress(text.encode())


_compact = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder for every call


def own(spec: Mapping[str, Any] | None) -> str:
    """What `pack` left out of a spec, as JSON."""
    return _compact({name: spec[name] for name in OWN if name in spec} if spec else {})


def unpack(blob: bytes, its_own: str) -> dict[str, Any]:
    """The spec that `pack` and `own` took apart."""
    spec: dict[str, Any] = json.loads(_unpacked(blob))
    spec.update(json.loads(its_own))  # each has its place in the spec, and keeps it
    return spec


@lru_cache(maxsize=1024)
def _unpacked(blob: bytes) -> bytes:
    return zlib.decompress(blob)


Packed = tuple[tuple[str, str], list[str | bytes]]


def packed(job: Job) -> Packed:
    """The digests of a job's spec and resolved spec ("" where it has none), and digest and blob of each, one after the other."""
    specs = [pack(job.spec)] + ([pack(job.resolved_spec)] if job.resolved_spec is not None else [])
    digests = [digest for digest, _ in specs]
    return (digests[0], digests[1] if digests[1:] else ""), [part for spec in specs for part in spec]


def put_away(job: Job) -> bytes:
    """Of an ended job all that its hash no longer holds, compressed."""
    record = job.model_dump_json(exclude=_IN_THE_OPEN, exclude_defaults=True)
    squeezed = zlib.compressobj(level=9, wbits=-15, zdict=ENDED)
    return squeezed.compress(f"{record}\n{own(job.spec)}\n{own(job.resolved_spec)}".encode()) + squeezed.flush()


def end_of(blob: bytes) -> tuple[int | None, dict[str, float]]:
    """When an ended job that was put away ended, in ms, and its metrics."""
    record = json.loads(zlib.decompressobj(wbits=-15, zdict=ENDED).decompress(blob).split(b"\n", 1)[0])
    finished = record.get("finished_at")
    return to_ms(datetime.fromisoformat(finished)) if finished else None, record.get("metrics", {})


_IN_THE_OPEN = {"id", "project", "name", "labels", "state", "token", "spec", "resolved_spec"}


def _taken_out(job_id: str, text: Mapping[str, str], raw: Sequence[Any]) -> Job:
    """The ended job that was put away."""
    record, its_own, resolved_own = zlib.decompressobj(wbits=-15, zdict=ENDED).decompress(raw[6]).decode().split("\n")
    return Job.model_validate(
        {
            **json.loads(record),
            "id": job_id,
            "project": text["project"],
            "name": text.get("name"),
            "labels": json.loads(text["labels"]),
            "state": text["state"],
            "token": int(text["token"]),
            "spec": unpack(raw[4], its_own),
            "resolved_spec": unpack(raw[5], resolved_own) if raw[5] else None,
        }
    )


def tails(rows: Sequence[Mapping[str, Any]], steps: Sequence[Step]) -> str:
    """Metric rows and logged steps as Lua stores them: each as JSON text, because Lua would round its numbers. "" where there are none."""
    if not rows and not steps:
        return ""
    return json.dumps({"rows": [json.dumps(finite(row)) for row in rows], "steps": step_texts(steps)})


def step_texts(steps: Iterable[Step]) -> list[str]:
    """Logged steps as they are kept."""
    return [_compact(step) for step in Steps.of(steps)]


def lines(records: Iterable[BaseModel]) -> str:
    """Records as one JSON line each: Lua appends to such text without reading it."""
    return "\n".join(record.model_dump_json() for record in records)


@lru_cache(maxsize=64)
def _progress(progress: Progress) -> str:
    return progress.model_dump_json()


def fresh_fields(job: Job, digests: tuple[str, str], rows: Sequence[Mapping[str, Any]] = (), steps: Sequence[Step] = ()) -> dict[str, str]:
    """The hash of a job that no attempt has touched yet. Every value is text."""
    return shared_fields(job, digests, rows, steps) | own_fields(job)


def own_fields(job: Job) -> dict[str, str]:
    """What jobs differ in that were submitted with one spec, under one outlook."""
    return {
        "project": job.project,
        "name": job.name or "",
        "labels": _compact(job.labels),
        "created": job.created_at.isoformat(),
        "own": own(job.spec),
        "resolved_own": own(job.resolved_spec),
        **({"notify": endpoints(job.notify)} if job.notify else {}),
    }


def endpoints(notify: Sequence[Endpoint]) -> str:
    """Who is told, as Lua reads it: with the origin, by which deliveries take turns."""
    return _compact([{**each.model_dump(mode="json"), "origin": placed(each.url).origin} for each in notify])


def _notify(text: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in each.items() if name != "origin"} for each in json.loads(text or "[]")]


def shared_fields(job: Job, digests: tuple[str, str], rows: Sequence[Mapping[str, Any]] = (), steps: Sequence[Step] = ()) -> dict[str, str]:
    """All the rest of a fresh job's hash."""
    newest, last = job.checkpoint, rows[-1] if rows else None
    return {
        "max_retries": str(job.max_retries),
        "retry_of": job.retry_of or "",
        "priority": str(job.priority),
        "device": job.device,
        "warnings": lines(job.warnings),
        "reason": job.reason or "",
        "dataset_digest": job.dataset_digest or "",
        "inexact": "\n".join(job.exactness.reasons),
        "progress": _progress(job.progress),
        "estimate": job.estimate.model_dump_json() if job.estimate else "",
        "kinds": kinds_of(job.spec),
        "spec": digests[0],
        "resolved": digests[1],
        "spec_version": str(job.understood_from),
        "gpus": str(job.gpus),
        "token": str(job.token),
        "checkpoints": lines(job.checkpoints),
        "checkpoint_token": str(newest.token if newest else -1),
        "checkpoint_step": str(newest.step if newest else -1),
        "borrowed_from": job.borrowed_from or "",
        "row_epoch": str(last["epoch"] if last else -1),
        "row_step": str(last["step"] if last else -1),
        "told_step": str(steps[-1][0] if steps else -1),
        **({"upload": "/".join(job.upload)} if job.upload else {}),
        **{name: _compact(value) for name, value in (job.model_extra or {}).items()},
        **dict.fromkeys(("attempt", "retries", "retries_since_checkpoint", "cancel", "pause", "version"), "0"),
    }


def kept_fields(job: Job, digests: tuple[str, str], rows: Sequence[Mapping[str, Any]], steps: Sequence[Step]) -> dict[str, str]:
    """The hash of a record that storage kept."""
    return fresh_fields(job, digests, rows, steps) | {
        "attempt": str(job.attempt),
        "retries": str(job.retries),
        "cancel": "1" if job.cancel_requested else "0",
        "version": str(job.version),
        "submitted": str(to_ms(job.created_at)),
        "best": job.best.model_dump_json() if job.best else "",
        "error": job.error.model_dump_json() if job.error else "",
        "started": str(to_ms(job.started_at)) if job.started_at else "",
        "finished": str(to_ms(job.finished_at)) if job.finished_at else "",
    }


def job_of(raw: Sequence[Any]) -> Job:
    """The job that the Lua function `read` answered: id, record, metrics, transitions, spec, resolved spec, and what was put away."""
    job_id, text, metrics = raw[0].decode(), _mapping(raw[1]), _mapping(raw[2])
    if raw[6]:
        return _taken_out(job_id, text, raw)

    def moment(name: str) -> datetime | None:
        return from_ms(int(text[name])) if text.get(name) else None

    return Job(
        id=job_id,
        project=text["project"],
        name=text["name"] or None,
        labels=json.loads(text["labels"]),
        state=text["state"],
        reason=text["reason"] or None,
        phase=text["phase"] or None,
        attempt=int(text["attempt"]),
        retries=int(text["retries"]),
        max_retries=int(text["max_retries"]),
        retry_of=text["retry_of"] or None,
        priority=int(text["priority"]),
        device=text["device"],
        warnings=tuple(SpecWarning.model_validate_json(line) for line in text["warnings"].split("\n") if line),
        dataset_digest=text["dataset_digest"] or None,
        exactness=exactness(text.get("inexact", "").split()),
        progress=Progress.model_validate_json(text["progress"]),
        metrics={name: json.loads(value) for name, value in metrics.items()},
        best=Best.model_validate_json(text["best"]) if text.get("best") else None,
        estimate=Estimate.model_validate_json(text["estimate"]) if text.get("estimate") else None,
        created_at=datetime.fromisoformat(text["created"]),
        started_at=moment("started"),
        finished_at=moment("finished"),
        transitions=tuple(_transition(line.decode()) for line in raw[3]),
        error=JobError.model_validate_json(text["error"]) if text.get("error") else None,
        notify=_notify(text.get("notify", "")),
        spec=unpack(raw[4], text["own"]),
        resolved_spec=unpack(raw[5], text["resolved_own"]) if raw[5] else None,
        token=int(text["token"]),
        owner=text.get("owner") or None,
        cancel_requested=text["cancel"] == "1",
        pause_requested=text["pause"] == "1",
        checkpoints=tuple(CheckpointPointer.model_validate_json(line) for line in text["checkpoints"].split("\n") if line),
        version=int(text["version"]),
        **dict(_handed_on(text)),
    )


def _handed_on(text: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """What a newer version wrote into the record. What is no JSON is a note of its scripts."""
    for name in text.keys() - _FIELDS - Job.model_fields.keys():
        with suppress(ValueError):
            yield name, json.loads(text[name])


_FIELDS = frozenset(
    {
        *(
            "project",
            "name",
            "labels",
            "created",
            "own",
            "resolved_own",
            "max_retries",
            "retry_of",
            "priority",
            "device",
            "gpus",
            "warnings",
            "reason",
        ),
        *("dataset_digest", "inexact", "progress", "estimate", "kinds", "spec", "resolved", "spec_version", "token", "checkpoints"),
        *("checkpoint_token", "checkpoint_step", "borrowed_from", "row_epoch", "row_step", "told_step", "upload", "attempt", "retries"),
        *("retries_since_checkpoint", "cancel", "pause", "version", "submitted", "best", "error", "started", "finished"),
        *("state", "phase", "owner", "events", "marked", "ended_by", "ended_as", "retried_as", "first_step", "metered", "spent"),
    }
)
"""What this version keeps in a job's hash."""


def _mapping(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [item.decode() for item in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def transition_line(step: Transition) -> str:
    """A transition as Lua writes it."""
    return f"{step.state}|{step.phase or ''}|{to_ms(step.at)}|{step.reason or ''}"


def _transition(line: str) -> Transition:
    state, phase, at, reason = line.split("|")
    return Transition(state=state, phase=phase or None, at=from_ms(int(at)), reason=reason or None)

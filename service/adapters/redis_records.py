"""A job as the fields of a Redis hash, and back. The Lua calls own the fields that change with the state."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from service.adapters.stores import exactness, finite, from_ms, to_ms
from service.jobs.job import Best, CheckpointPointer, Job, JobError, Progress, Transition
from service.spec.verdict import Estimate, SpecWarning


def pack(spec: Mapping[str, Any]) -> tuple[str, bytes]:
    """A spec's digest (of its canonical JSON) and its compressed JSON."""
    text = json.dumps(spec, separators=(",", ":"), sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest(), zlib.compress(json.dumps(spec, separators=(",", ":")).encode())


def unpack(blob: bytes) -> dict[str, Any]:
    """The spec that `pack` compressed."""
    spec: dict[str, Any] = json.loads(zlib.decompress(blob))
    return spec


def packed(job: Job) -> tuple[tuple[str, str], list[str | bytes]]:
    """The digests of a job's spec and resolved spec ("" where it has none), and digest and blob of each, one after the other."""
    specs = [pack(job.spec)] + ([pack(job.resolved_spec)] if job.resolved_spec is not None else [])
    digests = [digest for digest, _ in specs]
    return (digests[0], digests[1] if digests[1:] else ""), [part for spec in specs for part in spec]


def row_texts(rows: Sequence[Mapping[str, Any]]) -> str:
    """Metric rows as Lua stores them: each as JSON text, because Lua would round its numbers."""
    return json.dumps([json.dumps(finite(row)) for row in rows])


def lines(records: Iterable[BaseModel]) -> str:
    """Records as one JSON line each: Lua appends to such text without reading it."""
    return "\n".join(record.model_dump_json() for record in records)


def fresh_fields(job: Job, digests: tuple[str, str], rows: Sequence[Mapping[str, Any]] = ()) -> dict[str, str]:
    """The hash of a job that no attempt has touched yet. Every value is text."""
    newest, last = job.checkpoint, rows[-1] if rows else None
    return {
        "id": job.id,
        "project": job.project,
        "name": job.name or "",
        "labels": json.dumps(job.labels),
        "max_retries": str(job.max_retries),
        "retry_of": job.retry_of or "",
        "priority": str(job.priority),
        "device": job.device,
        "warnings": lines(job.warnings),
        "reason": job.reason or "",
        "dataset_digest": job.dataset_digest or "",
        "inexact": "\n".join(job.exactness.reasons),
        "progress": job.progress.model_dump_json(),
        "estimate": job.estimate.model_dump_json() if job.estimate else "",
        "created": job.created_at.isoformat(),
        "spec": digests[0],
        "resolved": digests[1],
        "spec_version": str((job.resolved_spec or job.spec).get("spec_version", 1)),
        "token": str(job.token),
        "checkpoints": lines(job.checkpoints),
        "checkpoint_token": str(newest.token if newest else -1),
        "checkpoint_step": str(newest.step if newest else -1),
        "borrowed_from": job.borrowed_from or "",
        "row_epoch": str(last["epoch"] if last else -1),
        "row_step": str(last["step"] if last else -1),
        **dict.fromkeys(("attempt", "retries", "retries_since_checkpoint", "cancel", "pause", "version"), "0"),
    }


def kept_fields(job: Job, digests: tuple[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The hash of a record that storage kept."""
    return fresh_fields(job, digests, rows) | {
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
    """The job that the Lua function `read` answered: record, metrics, transitions, spec, resolved spec."""
    text, metrics = _mapping(raw[0]), _mapping(raw[1])

    def moment(name: str) -> datetime | None:
        return from_ms(int(text[name])) if text.get(name) else None

    return Job(
        id=text["id"],
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
        transitions=tuple(_transition(line.decode()) for line in raw[2]),
        error=JobError.model_validate_json(text["error"]) if text.get("error") else None,
        spec=unpack(raw[3]),
        resolved_spec=unpack(raw[4]) if raw[4] else None,
        token=int(text["token"]),
        owner=text.get("owner") or None,
        cancel_requested=text["cancel"] == "1",
        pause_requested=text["pause"] == "1",
        checkpoints=tuple(CheckpointPointer.model_validate_json(line) for line in text["checkpoints"].split("\n") if line),
        version=int(text["version"]),
    )


def _mapping(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [item.decode() for item in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def transition_line(step: Transition) -> str:
    """A transition as Lua writes it."""
    return f"{step.state}|{step.phase or ''}|{to_ms(step.at)}|{step.reason or ''}"


def _transition(line: str) -> Transition:
    state, phase, at, reason = line.split("|")
    return Transition(state=state, phase=phase or None, at=from_ms(int(at)), reason=reason or None)

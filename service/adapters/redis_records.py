"""A job as the fields of a Redis hash, and back. The Lua calls own the fields that change with the state."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from service.adapters.stores import exactness, from_ms
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


def lines(records: Iterable[SpecWarning]) -> str:
    """Records as one JSON line each: Lua appends to such text without reading it."""
    return "\n".join(record.model_dump_json() for record in records)


def fresh_fields(job: Job, *, spec: str, resolved: str) -> dict[str, str]:
    """The hash of a job that nobody has touched yet; `spec` and `resolved` are digests. Every value is text."""
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
        "spec": spec,
        "resolved": resolved,
        "checkpoint": job.checkpoint.model_dump_json() if job.checkpoint else "",
        **dict.fromkeys(("attempt", "retries", "retries_since_checkpoint", "token", "cancel", "pause", "version"), "0"),
        **dict.fromkeys(("checkpoint_token", "checkpoint_step", "row_epoch", "row_step"), "-1"),
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
        checkpoint=CheckpointPointer.model_validate_json(text["checkpoint"]) if text["checkpoint"] else None,
        version=int(text["version"]),
    )


def _mapping(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [item.decode() for item in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _transition(line: str) -> Transition:
    state, phase, at, reason = line.split("|")
    return Transition(state=state, phase=phase or None, at=from_ms(int(at)), reason=reason or None)

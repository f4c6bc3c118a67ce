"""The live tail of what attempts reported, in Redis: capped, and gone within the hour after it was saved to storage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from service.adapters.redis_records import own, pack, step_texts
from service.adapters.redis_scripts import Scripts
from service.adapters.stores import finite, from_ms, rfc3339
from service.jobs.errors import Fenced, JobNotFound
from service.jobs.ports import Claim, Report, TailPart
from service.jobs.rows import json_list
from service.jobs.steps import Steps


class RedisFacts:
    """The FactLog."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def report(self, claim: Claim, report: Report) -> None:
        """Record what an attempt learnt. Raises Fenced."""
        spec = report.resolved_spec
        resolved = () if spec is None else (*pack(spec), own(spec))
        answer = self._scripts.call("report", claim.job.id, claim.token, json.dumps(_for_lua(report)), *resolved)
        if answer is None:
            raise Fenced(claim.job.id, token=claim.token)

    def events(self, project: str, job_id: str, *, after: int, limit: int) -> Sequence[Mapping[str, Any]] | None:
        """Events with id > after, oldest first: {id, type, at, message, data}; None once the live tail is gone."""
        entries = self._tail(project, job_id, "events", after, limit)
        return entries if entries is None else [_event(*entry) for entry in entries]

    def metrics(self, project: str, job_id: str, *, after: int = -1) -> Sequence[Mapping[str, Any]] | None:
        """One row per finished epoch, those with a greater step, oldest first; None once the live tail is gone."""
        rows = self.lines(project, job_id, "rows", after=after)
        return None if rows is None else from_json(json_list(rows))

    def steps(self, project: str, job_id: str, *, after: int = -1) -> Steps | None:
        """Logged steps with a greater number, oldest first; None once the live tail is gone."""
        rows = self.lines(project, job_id, "steps", after=after)
        return None if rows is None else Steps.parse(rows)

    def lines(self, project: str, job_id: str, part: TailPart, *, after: int = -1) -> bytes | None:
        """What `metrics` or `steps` answers as its JSON, a row on each line: nobody reads what is only passed on."""
        rows: bytes | int | None = self._scripts.call("after", job_id, project, after, part)
        if rows is None:
            raise JobNotFound(job_id)
        return rows if isinstance(rows, bytes) else None

    def logs(self, project: str, job_id: str, *, last: int | None = None) -> Sequence[str] | None:
        """Log lines, oldest first, of them the `last` so many; None once the live tail is gone."""
        lines: Sequence[str] | None = self._tail(project, job_id, "logs", last or 0)
        return lines

    def _tail(self, project: str, job_id: str, part: str, *which: int) -> Any:
        text: bytes | int | None = self._scripts.call("tail", job_id, project, part, *which)
        if text is None:
            raise JobNotFound(job_id)
        return from_json(text) if isinstance(text, bytes) else None


def _for_lua(report: Report) -> dict[str, Any]:
    """The report as report.lua reads it: numbers of ours stay JSON text, because Lua would round them."""
    told: dict[str, Any] = {
        "metrics": {name: json.dumps(value) for name, value in finite(report.metrics).items()},
        "events": [
            {"type": event["type"], "message": event.get("message") or "", "data": json.dumps(event.get("data") or {})}
            for event in report.events
        ],
        "steps": step_texts(report.steps),
        "logs": list(report.logs),
        "warnings": [warning.model_dump_json() for warning in report.warnings],
    }
    if report.phase:
        told["phase"] = report.phase
    if report.progress is not None:
        told["progress"] = json.dumps(report.progress)
    if report.dataset_digest:
        told["dataset_digest"] = report.dataset_digest
    if report.inexact:
        told["inexact"] = report.inexact
    if report.best is not None:
        told["best"] = json.dumps(report.best)
    if report.row is not None:
        told |= {"row": json.dumps(finite(report.row)), "epoch": report.row["epoch"], "step": report.row["step"]}
    return told


def _event(number: str, kind: str, at: str, message: str, data: str) -> dict[str, Any]:
    return {"id": int(number), "type": kind, "at": rfc3339(from_ms(int(at))), "message": message, "data": from_json(data)}

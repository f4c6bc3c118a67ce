"""In Redis: whose objects are no longer needed, and records put back after Redis was lost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from service.adapters.redis_records import kept_fields, packed, tails, transition_line
from service.adapters.redis_scripts import Scripts
from service.adapters.stores import PASSES, finite, to_ms
from service.jobs.job import Job
from service.jobs.steps import Step


class RedisDisposal:
    """The Disposal port."""

    def __init__(self, scripts: Scripts, *, again_seconds: float) -> None:
        self._scripts, self._again_ms = scripts, int(again_seconds * 1000)

    def deleted(self, limit: int) -> Sequence[tuple[str, str]]:
        """(project, id) of deleted jobs whose objects are to be removed now."""
        return self._due("deleted", limit)

    def erased(self, project: str, job_id: str) -> None:
        """They were."""
        self._swept("deleted", project, job_id)

    def littered(self, limit: int) -> Sequence[tuple[str, str]]:
        """(project, id) of ended jobs among whose objects leftovers are to be looked for now."""
        return self._due("garbage", limit)

    def collected(self, project: str, job_id: str) -> None:
        """They were looked for, and removed."""
        self._swept("garbage", project, job_id)

    def litter(self, project: str, job_id: str) -> None:
        """A fenced attempt may have left something: look again once the job has ended, or at once if it has."""
        self._scripts.call("litter", job_id, project)

    def _due(self, list_name: str, limit: int) -> Sequence[tuple[str, str]]:
        places = [member.decode().partition("/") for member in self._scripts.call("due", list_name, limit)]
        return [(project, job_id) for project, _, job_id in places]

    def _swept(self, list_name: str, project: str, job_id: str) -> None:
        self._scripts.call("swept", list_name, f"{project}/{job_id}", PASSES, self._again_ms)


class RedisRebuilding:
    """The Rebuilding port."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def restore(self, job: Job, *, rows: Sequence[Mapping[str, Any]], steps: Sequence[Step] = ()) -> bool:
        """Store the record unless one is here; one that ran waits again. False where there was nothing to do."""
        digests, blobs = packed(job)
        state = (job.state, job.reason or "", json.dumps([transition_line(step) for step in job.transitions]))
        metrics = json.dumps({name: json.dumps(value) for name, value in finite(job.metrics).items()})
        record = json.dumps(kept_fields(job, digests, rows, steps))
        answer = self._scripts.call(
            "restore", job.id, job.project, record, to_ms(job.created_at), *state, metrics, tails(rows, steps), *blobs
        )
        return bool(answer)

"""In Redis: whose objects are no longer needed, and records put back after Redis was lost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from service.adapters.redis_records import kept_fields, packed, tails, transition_line
from service.adapters.redis_scripts import Scripts, our_errors
from service.adapters.stores import PASSES, finite, to_ms
from service.jobs.job import Job
from service.jobs.ports import IdempotencyKey
from service.jobs.steps import Step

SCANNED = 1000


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
        self._client: redis.Redis = scripts.client

    def is_empty(self) -> bool:
        """Whether there is no job."""
        with our_errors():
            return next(self._client.scan_iter(match="ty:job:*", count=SCANNED), None) is None

    def idempotency_keys(self) -> Sequence[IdempotencyKey]:
        """All that are not forgotten yet."""
        with our_errors():
            names = list(self._client.scan_iter(match="ty:idempotency:*", count=SCANNED))
            with self._client.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.get(name)
                    pipeline.pexpiretime(name)
                told = pipeline.execute()
        found = zip(names, told[::2], told[1::2], strict=True)
        return [_key(name.decode(), value.decode(), until / 1000) for name, value, until in found if value is not None and until > 0]

    def restore_idempotency_keys(self, keys: Sequence[IdempotencyKey]) -> None:
        """Put them back, but for those that are here and those whose time is over."""
        with our_errors(), self._client.pipeline(transaction=False) as pipeline:
            for each in keys:
                value = f"{each.job_id}|{each.body_sha256}"
                pipeline.set(f"ty:idempotency:{each.project}:{each.key}", value, pxat=int(each.until * 1000), nx=True)
            pipeline.execute()

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


def _key(name: str, value: str, until: float) -> IdempotencyKey:
    _, _, project, key = name.split(":", 3)
    job_id, _, body = value.partition("|")
    return IdempotencyKey(project, key, job_id, body, until)

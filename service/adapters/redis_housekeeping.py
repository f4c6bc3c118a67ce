"""What sweepers do in Redis, and who works right now. Every call here is harmless when many make it at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import redis

from service.adapters.redis_records import job_of, put_away
from service.adapters.redis_scripts import Scripts, our_errors
from service.adapters.stores import TAIL_SECONDS, from_ms, retries_used_up, to_ms
from service.jobs.job import Device, Job
from service.jobs.ports import Demand, GpuLoad, Worked, WorkerBeat
from service.jobs.state import JobState, Reason

DEVICES: tuple[Device, ...] = ("cpu", "gpu")


class RedisHousekeeping:
    """The Housekeeping port."""

    def __init__(self, scripts: Scripts, *, lease_seconds: float, sweep_seconds: float) -> None:
        self._scripts = scripts
        self._client: redis.Redis = scripts.client
        self._lease_ms, self._sweep_ms = int(lease_seconds * 1000), int(sweep_seconds * 1000)

    def expire(self) -> Sequence[str]:
        """Give back (or end) every job whose lease has died; returns their ids. Does nothing right after a gap in sweeping."""
        exhausted = retries_used_up(Reason.WORKER_LOST).model_dump_json()
        return [job_id.decode() for job_id in self._scripts.call("expire", self._sweep_ms, self._lease_ms, exhausted)]

    def demand(self) -> Mapping[Device, Demand]:
        """How many jobs wait and how many slots are idle, per class."""
        *waiting, beats = self._scripts.call("demand")
        workers = [beat_of(beat) for beat in beats]
        return {device: Demand.of(device, waiting=count, workers=workers) for device, count in zip(DEVICES, waiting, strict=True)}

    def unsaved(self, limit: int) -> Sequence[Job]:
        """Jobs whose record in S3 is older than the one here, the longest waiting first."""
        with our_errors():
            ids: Any = self._client.zrange("ty:unsaved", 0, limit - 1)
        return [job_of(job) for job in self._scripts.call("read", *ids) if job] if ids else []

    def saved(self, job: Job) -> None:
        """The record was written; the live tail of a terminal job expires within the hour."""
        blob, end = (put_away(job) if job.is_terminal else ""), ("" if job.finished_at is None else to_ms(job.finished_at))
        self._scripts.call("saved", job.id, job.version, TAIL_SECONDS, job.project, blob, job.state, job.token, end)


class RedisWorkers:
    """The WorkerRegistry."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._client: redis.Redis = scripts.client

    def beat(self, beat: WorkerBeat) -> None:
        """Say that this worker lives; forgotten after half a minute of silence."""
        told = json.dumps(asdict(replace(beat, at=None)))
        self._scripts.call("beat", beat.name, told, beat.device, int(beat.busy < beat.slots), beat.job_gpus)

    def leave(self, name: str) -> None:
        """Say goodbye."""
        with our_errors(), self._client.pipeline() as pipeline:
            pipeline.delete(f"ty:worker:{name}", f"ty:worked:{name}", f"ty:gpus:{name}")
            for names in ("ty:workers", *(f"ty:{kind}:{device}" for kind in ("live", "idle") for device in DEVICES)):
                pipeline.zrem(names, name)
            pipeline.execute()

    def workers(self) -> Sequence[WorkerBeat]:
        """All live workers, by name."""
        with our_errors():
            found: Any = self._client.zrange("ty:workers", 0, -1, withscores=True)
            beats: Any = self._client.mget([f"ty:worker:{name.decode()}" for name, _ in found]) if found else []
        told = zip(beats, found, strict=True)
        return sorted((replace(beat_of(beat), at=from_ms(int(at))) for beat, (_, at) in told if beat), key=lambda beat: beat.name)

    def history(self, project: str, names: Sequence[str]) -> Mapping[str, Sequence[Worked]]:
        """The last attempts of these workers, at most 20 of each, the newest first: of the project's jobs that are still there."""
        told = self._scripts.call("worked", project, *names)
        return {name: [_worked(row) for row in rows] for name, rows in zip(names, told, strict=True)}


def _worked(row: Sequence[bytes]) -> Worked:
    job_id, name, state, started, ended = (each.decode() for each in row)
    ended_at = from_ms(int(ended)) if ended else None
    return Worked(id=job_id, name=name or None, state=JobState(state), started_at=from_ms(int(started)), ended_at=ended_at)


_TOLD = frozenset(field.name for field in fields(WorkerBeat))


def beat_of(text: bytes) -> WorkerBeat:
    """What a worker told, of whatever version it is."""
    told = {name: value for name, value in json.loads(text).items() if name in _TOLD}
    return WorkerBeat(**told | {"gpus": tuple(GpuLoad(**each) for each in told.get("gpus", ()))})

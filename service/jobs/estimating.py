"""How long an epoch will take, learnt from finished jobs; how far an estimate was off; when a waiting job starts. Never a guess."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from statistics import median
from typing import Any

from service.jobs.job import Job
from service.jobs.state import JobState, Phase
from service.spec.job import JobSpec
from service.spec.verdict import Estimate, Memory

LEARNT_FROM = 50
"""The latest finished jobs that are looked at."""
LOOKED_AHEAD = 100
"""A job with more waiting jobs before it gets no estimated start."""


def estimate(resolved: Mapping[str, Any], *, memory: Memory | None, device: str | None, finished: Iterable[Job]) -> Estimate:
    """What jobs that did the same work, sample by sample, needed for as many samples. `device` is None where it is not chosen yet."""
    rates = [
        job.metrics["samples_per_second"] for job in finished if _is_like(job, resolved, device) and job.metrics.get("samples_per_second")
    ]
    total = memory.total if memory else None
    if not rates:
        reason = "No finished job here trained this model on this kind of samples, with this batch size and as many threads."
        return Estimate(memory_bytes=total, reason=reason)
    return Estimate(memory_bytes=total, seconds_per_epoch=_samples(resolved) / median(rates))


def judged(job: Job) -> Estimate | None:
    """The job's estimate beside what was measured, once it has succeeded; an error of 0.1 means a tenth too low."""
    found, rate = job.estimate, job.metrics.get("samples_per_second")
    if found is None or job.state is not JobState.SUCCEEDED or job.resolved_spec is None:
        return found
    seconds = _samples(job.resolved_spec) / rate if rate else None
    memory = job.metrics.get("peak_memory_bytes")
    return found.model_copy(
        update={
            "measured_seconds_per_epoch": seconds,
            "measured_memory_bytes": int(memory) if memory else None,
            "seconds_error": seconds / found.seconds_per_epoch - 1 if seconds and found.seconds_per_epoch else None,
            "memory_error": memory / found.memory_bytes - 1 if memory and found.memory_bytes else None,
        }
    )


def seconds_to_start(*, slots: int, running: Sequence[Job], before: Sequence[Job]) -> float | None:
    """Seconds until a slot is free for whoever waits behind `before`: each in turn takes the slot that is free first. None if any number is unknown."""
    free = _free(slots, running)
    for job in before:
        _take_turn(free, job)
    return free[0] if free else None


def starts(*, slots: int, running: Sequence[Job], waiting: Sequence[Job]) -> list[float | None]:
    """The same for each of those that wait, one behind the other."""
    free, found = _free(slots, running), []
    for job in waiting:
        found.append(free[0] if free else None)
        _take_turn(free, job)
    return found


def _free(slots: int, running: Sequence[Job]) -> list[float]:
    """Seconds until each slot is free, as a heap; none where that is unknown."""
    known = [seconds for seconds in map(_remaining, running) if seconds is not None]
    if slots < max(1, len(running)) or len(known) < len(running):
        return []
    free = [0.0] * (slots - len(running)) + known
    heapq.heapify(free)
    return free


def _take_turn(free: list[float], job: Job) -> None:
    """The job has the slot that is free first; from one on that lasts nobody knows how long, nothing is known."""
    seconds = _lasting(job)
    if seconds is None:
        free.clear()
    elif free:
        heapq.heapreplace(free, free[0] + seconds)


def _remaining(job: Job) -> float | None:
    """Of a running job; while it prepares, its progress is an earlier attempt's."""
    return None if job.phase is Phase.PREPARING else job.progress.eta_seconds


def _lasting(job: Job) -> float | None:
    """Of a waiting job, from its checkpoint on."""
    if job.estimate is None or job.estimate.seconds_per_epoch is None:
        return None
    done = job.checkpoint.epoch if job.checkpoint else 0
    return job.estimate.seconds_per_epoch * max(0, int(job.spec["epochs"]) - done)


def _is_like(job: Job, resolved: Mapping[str, Any], device: str | None) -> bool:
    other = job.resolved_spec
    return other is not None and device in (None, job.device) and all(part(other) == part(resolved) for part in _WORK)


def _without(name: str, *left_out: str) -> Callable[[Mapping[str, Any]], Any]:
    def part(resolved: Mapping[str, Any]) -> Any:
        return {key: value for key, value in resolved[name].items() if key not in left_out}

    return part


_WORK: tuple[Callable[[Mapping[str, Any]], Any], ...] = (
    itemgetter("model"),
    itemgetter("dataloader"),
    _without("training", "log_every_n_steps"),
    _without("optimizer", "lr"),
    _without("dataset", "limit", "validation_split", "size"),
    lambda resolved: resolved["resources"]["threads"],
)
"""What the time of a sample depends on, but for the machine; what differs most often stands first."""


def _samples(resolved: Mapping[str, Any]) -> int:
    return JobSpec.model_validate(resolved).dataset.split_sizes[0]

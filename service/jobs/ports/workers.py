"""Who works, what waits for them, and what wakes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, Self

from service.jobs.job import Device
from service.jobs.state import JobState


@dataclass(frozen=True, kw_only=True)
class GpuLoad:
    """How busy a GPU is, as the driver tells it; None what it cannot tell. Slices of one (MIG) share its figures."""

    index: int
    name: str
    memory_bytes: int | None
    memory_used_bytes: int | None
    utilisation_percent: int | None
    """The share of the last moments in which something ran on it."""


@dataclass(frozen=True, kw_only=True)
class WorkerBeat:
    """One worker process, as it last reported itself."""

    name: str
    device: Device
    slots: int
    busy: int
    threads: int
    versions: Mapping[str, str] = field(default_factory=dict)
    jobs: Sequence[str] = ()
    device_name: str | None = None
    """The processor's model, or the GPU's name."""
    memory_bytes: int | None = None
    """The machine's, or the GPU's; less where a container may use less."""
    held_uploads: int = 0
    """Checkpoints and results that wait for storage."""
    held_seconds: float = 0.0
    """How long the oldest of them has."""
    gpus: Sequence[GpuLoad] = ()
    """Those that it works with."""
    job_gpus: int = 1
    """The most GPUs that it can give to one job; of a CPU's worker it means nothing."""
    at: datetime | None = None
    """When that was: told by the store, not by the worker."""


@dataclass(frozen=True, kw_only=True)
class Worked:
    """One attempt of a worker. `state` is the job's as it is now; `ended_at` is None while the attempt holds the job."""

    id: str
    name: str | None
    state: JobState
    started_at: datetime
    ended_at: datetime | None


class WorkerRegistry(Protocol):
    """Who works right now."""

    def beat(self, beat: WorkerBeat) -> None:
        """Say that this worker lives; forgotten after half a minute of silence."""

    def leave(self, name: str) -> None:
        """Say goodbye."""

    def workers(self) -> Sequence[WorkerBeat]:
        """All live workers, by name."""

    def history(self, project: str, names: Sequence[str]) -> Mapping[str, Sequence[Worked]]:
        """The last attempts of these workers, at most 20 of each, the newest first: of the project's jobs that are still there."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Jobs of a class that wait, and slots that would take them."""

    waiting: int
    idle: int

    @classmethod
    def of(cls, device: Device, *, waiting: int, workers: Iterable[WorkerBeat]) -> Self:
        """The demand on these workers."""
        return cls(waiting=waiting, idle=sum(max(0, worker.slots - worker.busy) for worker in workers if worker.device == device))


class Doorbell(Protocol):
    """Wakes idle workers. Lost and doubled rings are harmless."""

    def ring(self, device: Device, *, times: int) -> None:
        """Wake up to `times` idle slots. Raises StoreUnavailable."""

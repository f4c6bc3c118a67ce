"""What a project may have at most, and what it has."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from service.jobs.errors import TrainyardError

LARGEST = 2**53 - 1
"""What Lua takes for a whole number."""
GPU_DAYS = 30
"""GPU hours are those of so many days, today (UTC) among them."""
RESERVED = timedelta(hours=1)
"""For so long bytes are believed to be on their way."""


class Quota(BaseModel):
    """What a project may have at most. null: what the installation's settings say; 0: as much as it likes."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid")

    running: int | None = Field(default=None, ge=0, le=LARGEST)
    """Jobs that run at a time. More wait."""
    queued: int | None = Field(default=None, ge=0, le=LARGEST)
    """Jobs that wait or are paused. More are refused."""
    stored_bytes: int | None = Field(default=None, ge=0, le=LARGEST)
    """Bytes in storage. An upload that would not fit is refused; once they are used up, so is every job."""
    gpu_hours: float | None = Field(default=None, ge=0, le=1e9)
    """GPU hours of the last 30 days. Once they are used up new GPU jobs are refused; those that run save a checkpoint and wait."""

    def otherwise(self, common: Quota) -> Quota:
        """With what `common` says where this says nothing."""
        return Quota(**common.model_dump() | self.model_dump(exclude_none=True))

    @property
    def limits(self) -> Quota:
        """With null where there is no limit."""
        return Quota(**{name: limit or None for name, limit in self.model_dump().items()})


NO_QUOTA = Quota()


class Usage(NamedTuple):
    """What a project has now: jobs that run, jobs that wait or are paused, bytes in storage, GPU time of the last days."""

    running: int
    queued: int
    stored_bytes: int
    gpu_time: timedelta

    @property
    def gpu_hours(self) -> float:
        """In hours."""
        return self.gpu_time / timedelta(hours=1)


class QuotaExceeded(TrainyardError):
    """The project has all of it that it may have. `quota` is the name of the one that holds it back."""

    def __init__(self, quota: str, *, used: float, limit: float, wanted: float = 0) -> None:
        what, cure = _WORDS[quota]
        self.quota, self.used, self.limit = quota, used, limit
        self.detail = f"This project has {_number(quota, used)} of {_number(quota, limit)} {what}" + (
            f", and this would be {_number(quota, wanted)} more." if wanted else "."
        )
        self.cure = f"{cure}, or ask an admin for more."
        super().__init__(f"{self.detail} {self.cure}")


_WORDS = {
    "queued": ("jobs that may wait", "Wait until some have run, or cancel some"),
    "stored_bytes": ("that it may store", "Delete jobs or data sets that nobody needs"),
    "gpu_hours": (f"GPU hours of {GPU_DAYS} days", "Wait, or train on the CPU"),
}


def _number(quota: str, number: float) -> str:
    if quota != "stored_bytes":
        return f"{number:,.2f}".rstrip("0").rstrip(".")
    unit, size = next(((unit, size) for unit, size in _UNITS if number >= size), ("bytes", 1))
    return f"{number / size:,.2f}".rstrip("0").rstrip(".") + f" {unit}"


_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def of_job(job_id: str) -> str:
    """Whom a job's bytes are counted for."""
    return f"jobs/{job_id}"


def of_dataset(name: str, place: str) -> str:
    """Whom the bytes of a version of a data set are counted for."""
    return f"datasets/{name}/{place}"

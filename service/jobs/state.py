"""The states of a job, the table of legal moves, and the reasons. No storage lives here; stores enforce this table."""

import re
from enum import StrEnum
from typing import Self


class JobState(StrEnum):
    """Where a job stands. `queued -> running -> succeeded | failed | cancelled`, with two ways back to `queued`."""

    QUEUED = "queued"
    """Accepted and waiting. A worker's CLAIM moves it on. Nobody holds it, so nobody's death matters; sweepers ring again."""

    RUNNING = "running"
    """One attempt holds a lease. Its supervisor's FINISH moves it on; if that dies, EXPIRE gives the job back after the lease."""

    PAUSED = "paused"
    """Set aside by the user, holding no worker. RESUME moves it to `queued`, CANCEL to `cancelled`; it waits for ever."""

    SUCCEEDED = "succeeded"
    """Terminal: model and manifest are in storage. Never changes."""

    FAILED = "failed"
    """Terminal: `error` says why and what would help. Never changes; retry makes a new job."""

    CANCELLED = "cancelled"
    """Terminal: the user said stop. What had been uploaded is kept. Never changes."""


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.PAUSED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED, JobState.PAUSED}),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

TERMINAL: frozenset[JobState] = frozenset(state for state, following in TRANSITIONS.items() if not following)


_WORD = re.compile("[a-z][a-z0-9_]{0,63}")


class Word(StrEnum):
    """Words that no rule depends on: one that a newer version of this code wrote is a word, too, and stays what it is."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not _WORD.fullmatch(value):
            return None
        word = str.__new__(cls, value)
        word._name_, word._value_ = value.upper(), value
        return word


class Phase(Word):
    """What a running attempt is busy with. Informative: no rule depends on it."""

    PREPARING = "preparing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    EXPORTING = "exporting"
    UPLOADING = "uploading"


class Reason(Word):
    """Why a job is in its state, where that is not plain from the state itself."""

    WAITING_FOR_WORKER = "waiting_for_worker"
    GPU_HOURS = "gpu_hours"
    """The project has used up those that it may have."""
    WORKER_LOST = "worker_lost"
    TRAINER_LOST = "trainer_lost"
    OUT_OF_MEMORY = "out_of_memory"
    STALLED = "stalled"
    TIMED_OUT = "timed_out"
    NAN_LOSS = "nan_loss"
    BAD_SPEC = "bad_spec"
    BAD_DATA = "bad_data"
    USER_CODE = "user_code"
    STORAGE = "storage"
    DISK_FULL = "disk_full"
    DRAINED = "drained"
    PAUSED = "paused"
    INTERNAL = "internal"


INFRASTRUCTURE: frozenset[Reason] = frozenset(
    {Reason.WORKER_LOST, Reason.TRAINER_LOST, Reason.STALLED, Reason.STORAGE, Reason.DISK_FULL, Reason.DRAINED, Reason.OUT_OF_MEMORY}
)
"""Not the user's fault: the job is given back, until `max_retries` are used up (a drain uses none)."""

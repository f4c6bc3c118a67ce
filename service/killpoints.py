"""Named places where a process can be made to die, so that tests can show what each death costs: nothing. Not armed, a place costs one comparison."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from enum import StrEnum

KILL_AT = "TRAINYARD_KILL_AT"
"""The point at which the process kills itself."""
KILL_ONCE = "TRAINYARD_KILL_ONCE"
"""A file that is made first; where it exists, the point is passed unharmed."""


class UnknownKillPoint(ValueError):
    """The environment names a point that there is not."""


class KillPoint(StrEnum):
    """Every point, by the process that dies there."""

    BEFORE_SUBMIT = "before_submit"
    """API: the spec is checked, nothing is stored."""
    AFTER_SUBMIT = "after_submit"
    """API: the job is stored, nobody was told."""
    BEFORE_RING = "before_ring"
    """API: the client has its answer, the doorbell is silent."""
    RECORD_PUT = "record_put"
    """API (its sweeper): the record lies in storage, the store does not know."""

    CLAIMED = "claimed"
    """Worker: the store says that the job runs here; nothing does."""
    TRAINER_STARTED = "trainer_started"
    """Worker: a trainer has the job in hand."""
    CHECKPOINT_TOLD = "checkpoint_told"
    """Worker: the trainer wrote a checkpoint, nothing of it is in storage."""
    CHECKPOINT_FILES_PUT = "checkpoint_files_put"
    """Worker: the checkpoint's files are in storage, its manifest is not."""
    CHECKPOINT_MANIFEST_PUT = "checkpoint_manifest_put"
    """Worker: the checkpoint is whole in storage, the pointer still names the one before."""
    CHECKPOINT_COMMITTED = "checkpoint_committed"
    """Worker: the pointer has moved."""
    BEFORE_DROP = "before_drop"
    """Worker: a checkpoint that a newer one replaced is about to be removed."""
    BEFORE_ARTIFACTS = "before_artifacts"
    """Worker: the trainer is done, nothing of its results is in storage."""
    ARTIFACTS_FILES_PUT = "artifacts_files_put"
    """Worker: the results are in storage, their manifest is not."""
    ARTIFACTS_MANIFEST_PUT = "artifacts_manifest_put"
    """Worker: the results are whole in storage, the job still runs."""
    FINISHED = "finished"
    """Worker: the job has ended; the worker's slot is not free yet."""

    FIRST_EPOCH_STEP = "first_epoch_step"
    """Trainer: after the first step of all, before any checkpoint."""
    LATER_EPOCH_STEP = "later_epoch_step"
    """Trainer: in the middle of the second epoch."""
    CHECKPOINT_HALF_WRITTEN = "checkpoint_half_written"
    """The trainer's writer: weights are on disk, the rest of the checkpoint is not."""
    CHECKPOINT_WRITTEN = "checkpoint_written"
    """Trainer: the checkpoint is whole on disk, the worker was not told."""
    EXPORTING = "exporting"
    """Trainer: the model is on disk, the other results are not."""


_armed: KillPoint | None = None
_once = ""


def arm(environment: Mapping[str, str]) -> None:
    """Have this process die at the point that its environment names; called once, at its start. Raises UnknownKillPoint."""
    global _armed, _once  # one process, one death
    name = environment.get(KILL_AT)
    if not name:
        return
    if name not in set(KillPoint):
        raise UnknownKillPoint(f"{KILL_AT} names {name!r}. Known: {', '.join(KillPoint)}.")
    if not environment.get(KILL_ONCE):
        raise UnknownKillPoint(f"{KILL_AT} needs {KILL_ONCE}, a file that keeps the next process alive.")
    _armed, _once = KillPoint(name), environment[KILL_ONCE]


def passing(point: KillPoint) -> None:
    """This process is at the point now; where it is armed for it, and nobody died here before, it is killed as by `kill -9`."""
    if _armed is point:
        _die()


def _die() -> None:
    try:
        os.close(os.open(_once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

"""How long an attempt may run, and how long its trainer may be silent."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from service.jobs.job import Job
from service.jobs.ports import Outcome
from service.jobs.state import JobState, Reason
from worker.outcomes import Ending, failed

LAST_CHECKPOINT_SECONDS = 30.0
"""How long a trainer that is out of time may take to write a checkpoint of its last step."""
OUT_OF_TIME = failed(
    Reason.TIMED_OUT,
    "The job ran for longer than resources.timeout_seconds.",
    hint="A retry goes on from its last checkpoint, with as much time again; or submit it with a larger resources.timeout_seconds.",
)
SLOW = 3
"""Preparing and exporting may be silent for so many times as long as training and evaluating, which tell what they do."""
DAY = 86_400.0


class Limits:
    """The time of one attempt, from now on: the job's `timeout_seconds` less what earlier attempts used, and `stall_seconds` of silence."""

    def __init__(self, job: Job, *, stall_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._stall_seconds = now, stall_seconds
        seconds: float = job.spec.get("resources", {}).get("timeout_seconds", DAY)
        self._deadline = now() + seconds - _seconds_run(job)
        self._patience = SLOW * stall_seconds
        self._heard = now()

    def is_out_of_time(self) -> bool:
        """Whether the trainer has to stop now."""
        return self._now() > self._deadline

    def heard(self) -> None:
        """The trainer gave a sign of life."""
        self._heard = self._now()

    def enter(self, phase: str) -> None:
        """The trainer is at another phase."""
        self._patience = self._stall_seconds * (SLOW if phase in ("preparing", "exporting") else 1)

    def check(self) -> None:
        """Raises Ending where it did not stop in time, or is silent for too long."""
        now = self._now()
        if now > self._deadline + LAST_CHECKPOINT_SECONDS:
            raise Ending(OUT_OF_TIME)
        if now > self._heard + self._patience:
            raise Ending(Outcome(kind="give_back", reason=Reason.STALLED))


def _seconds_run(job: Job) -> float:
    """How long earlier attempts ran."""
    moves = [step for at, step in enumerate(job.transitions) if at == 0 or step.state != job.transitions[at - 1].state]
    return sum((after.at - before.at).total_seconds() for before, after in itertools.pairwise(moves) if before.state is JobState.RUNNING)

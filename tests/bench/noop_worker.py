"""A worker whose attempts do nothing and succeed, and who tells when it is idle again: `python -m tests.bench.noop_worker ...`."""

from __future__ import annotations

import os
import sys
from typing import Any

import redis

import worker.main
from service.jobs.ports import Claim, Outcome
from service.jobs.state import JobState
from worker.slots import Slots
from worker.supervisor import Surroundings

IDLE = "bench:idle"
"""A list in Redis: the id of each job after which a slot waits again."""


def supervise(claim: Claim, around: Surroundings) -> JobState:
    """End the attempt as soon as it has begun."""
    return around.attempts.finish(claim, Outcome(kind="succeeded"))


class TellingSlots(Slots):
    """Slots that say when a ring has been answered."""

    def __init__(self, *, supervise: Any, **more: Any) -> None:
        self._done: list[str] = []
        self._client = redis.Redis.from_url(os.environ["REDIS_URL"])

        def noted(claim: Claim) -> JobState | None:
            state: JobState | None = supervise(claim)
            self._done.append(claim.job.id)
            return state

        super().__init__(supervise=noted, **more)

    def work(self) -> None:
        """As always, and then a word of it."""
        super().work()
        while self._done:
            self._client.rpush(IDLE, self._done.pop())


if __name__ == "__main__":
    worker.main.supervise, worker.main.Slots = supervise, TellingSlots
    sys.exit(worker.main.main())

"""A worker whose attempts do nothing and succeed, and who tells when it is idle again: `python -m tests.bench.noop_worker ...`."""

from __future__ import annotations

import os
import sys

import redis

import worker.main
from service.jobs.ports import Claim, Outcome
from service.jobs.state import JobState
from worker.slots import Slots
from worker.supervisor import Surroundings

IDLE = "bench:idle"
"""A list in Redis: an entry for each ring that was answered to its end."""


def supervise(claim: Claim, around: Surroundings) -> JobState:
    """End the attempt as soon as it has begun."""
    return around.attempts.finish(claim, Outcome(kind="succeeded"))


class TellingSlots(Slots):
    """Slots that say when a ring has been answered."""

    _client = redis.Redis.from_url(os.environ.get("REDIS_URL", ""), socket_connect_timeout=5) if "REDIS_URL" in os.environ else None

    def work(self) -> None:
        """As always, and then a word of it."""
        super().work()
        if self._client is not None:
            self._client.rpush(IDLE, "")


if __name__ == "__main__":
    worker.main.supervise, worker.main.Slots = supervise, TellingSlots
    sys.exit(worker.main.main())

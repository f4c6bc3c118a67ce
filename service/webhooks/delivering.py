"""Sends what is due, a few at a time, beside everything else that an API process does. Harmless when many run."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime

from service.jobs.errors import Unavailable
from service.webhooks.delivery import PAUSES, Attempt, judged
from service.webhooks.ports import Limits, Outbox, Post, Secrets, Taken
from service.webhooks.signing import signed

SENDERS = 16
"""Deliveries that a process sends at a time."""
GRACE_SECONDS = 10.0
"""How much longer a lease is than an attempt."""
log = logging.getLogger("trainyard")


class Deliverer:
    """One of many. Each attempt has a thread of its own: an endpoint that hangs holds up nobody but itself."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        secrets: Secrets,
        post: Post,
        seconds: float,
        now: Callable[[], datetime],
        pauses: tuple[float, ...] = PAUSES,
        freed: Callable[[], None] = lambda: None,
    ) -> None:
        """`seconds` is how long an attempt may take; `freed` hears that there is room for another one."""
        self._outbox, self._secrets, self._post, self._now, self._freed = outbox, secrets, post, now, freed
        self._lease_seconds, self._pauses = seconds + GRACE_SECONDS, pauses
        self._free, self._stopping = threading.Semaphore(SENDERS), False

    def deliver(self) -> None:
        """Begin to send all that is due and there is room for. Never waits for an endpoint. Raises StoreUnavailable."""
        while not self._stopping and self._free.acquire(blocking=False):
            taken: Taken | None = None
            try:
                taken = self._outbox.take(lease_seconds=self._lease_seconds, limits=Limits())
            finally:
                if taken is None:
                    self._free.release()
            if taken is None:
                return
            threading.Thread(target=self._attend, args=(taken,), name="webhook", daemon=True).start()

    def stop(self, *, seconds: float) -> None:
        """Begin nothing more, and wait so long for what is under way. What is not done then is sent again by another, after its lease."""
        self._stopping = True
        deadline = time.monotonic() + seconds
        for _ in range(SENDERS):
            if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return

    def _attend(self, taken: Taken) -> None:
        try:
            self._send(taken)
        except Unavailable as error:
            log.warning("delivery %s: %s", taken.delivery.id, error)  # sent again after its lease
        finally:
            self._free.release()
            self._freed()

    def _send(self, taken: Taken) -> None:
        delivery, at = taken.delivery, self._now()
        body = delivery.body()
        headers = signed(body, id=delivery.id, at=int(at.timestamp()), keys=self._secrets.of(delivery.project).keys)
        answer = self._post.send(delivery.url, headers, body)
        age = (at - delivery.created_at).total_seconds()
        verdict = judged(answer, tries=delivery.tries + 1, age=age, pauses=self._pauses, chance=random.random())
        attempt = Attempt(at=at, seconds=round(answer.seconds, 3), status=answer.status, error=answer.error)
        self._outbox.settle(taken, attempt, verdict)

"""What is to be told, and what it is signed with, in Redis. The moves of jobs fill the outbox: see `announce` in lua/shared.lua."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service.adapters.redis_scripts import Scripts
from service.adapters.stores import SECRET_OVERLAP_SECONDS, from_ms
from service.jobs.errors import DeliveryNotFound, JobNotFound
from service.webhooks.delivery import Attempt, Delivery, Facts, Verdict
from service.webhooks.ports import Limits, Secret, Taken
from service.webhooks.signing import new_secret


class RedisOutbox:
    """The Outbox port."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def take(self, *, lease_seconds: float, limits: Limits) -> Taken | None:
        """The delivery that is due the longest, of the project with the fewest under way; None where nothing is due."""
        most = (limits.project, limits.endpoint, limits.unreachable)
        answer = self._scripts.call("outbox_take", int(lease_seconds * 1000), *most)
        if answer is None:
            return None
        return Taken(delivery=_delivery(answer[0], answer[2], ()), lease=int(answer[1]))

    def settle(self, taken: Taken, attempt: Attempt, verdict: Verdict) -> bool:
        """Record an attempt, and what comes after it. False, and nothing is done, where the lease has ended and another one was given."""
        next_one = (verdict.kind, int(verdict.after * 1000), verdict.reason or "")
        flags = ("1" if verdict.gone else "", "1" if attempt.status is not None else "")
        return bool(self._scripts.call("outbox_settle", taken.delivery.id, taken.lease, attempt.model_dump_json(), *next_one, *flags))

    def of(self, project: str, job_id: str) -> Sequence[Delivery]:
        """A job's deliveries, oldest first. Raises JobNotFound."""
        answer = self._scripts.call("outbox_of", job_id, project)
        if answer is None:
            raise JobNotFound(job_id)
        return [_delivery(*each) for each in answer]

    def replay(self, project: str, job_id: str, delivery_id: str) -> Delivery:
        """Send it again, now, and as often as a new one. Raises JobNotFound, DeliveryNotFound."""
        answer = self._scripts.call("outbox_replay", job_id, project, delivery_id)
        if answer is None:
            raise JobNotFound(job_id)
        if not answer:
            raise DeliveryNotFound(delivery_id, job_id=job_id)
        return _delivery(*answer)


class RedisSecrets:
    """The Secrets port."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def of(self, project: str) -> Secret:
        """The one that holds now."""
        return self._asked(project, anew="")

    def rotate(self, project: str) -> Secret:
        """A new one; the old one signs beside it for a day."""
        return self._asked(project, anew="1")

    def _asked(self, project: str, *, anew: str) -> Secret:
        told = self._scripts.call("webhook_secret", project, new_secret(), anew, SECRET_OVERLAP_SECONDS * 1000)
        current, previous, until = (each.decode() for each in told)
        return Secret(current=current, previous=previous or None, previous_until=from_ms(int(until)) if until else None)


def _delivery(delivery_id: bytes, flat: Sequence[bytes], attempts: Sequence[bytes]) -> Delivery:
    text = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
    facts: dict[str, Any] = {"name": text["name"] or None, "reason": text["why"] or None, "metrics": json.loads(text["metrics"])}
    return Delivery(
        id=delivery_id.decode(),
        project=text["project"],
        job_id=text["job"],
        url=text["url"],
        event=text["event"],
        facts=Facts(**facts, attempt=int(text["attempt"])),
        created_at=from_ms(int(text["at"])),
        state=text["state"],
        reason=text["reason"] or None,
        tries=int(text["tries"]),
        next_attempt_at=from_ms(int(text["next"])) if text["next"] else None,
        attempts=tuple(Attempt.model_validate_json(each) for each in attempts),
    )

"""Twins of what is to be told, and of what it is signed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from service.adapters.memory.shelf import Posted, Shelf
from service.adapters.stores import DELIVERY_SECONDS, SECRET_OVERLAP_SECONDS, UNREACHABLE_SECONDS, from_ms, to_ms
from service.jobs.errors import DeliveryNotFound
from service.webhooks.delivery import Attempt, Delivery, DeliveryState, Verdict
from service.webhooks.ports import Limits, Secret, Taken
from service.webhooks.signing import new_secret

ATTEMPTS_KEPT = 50


class MemoryOutbox:
    """The Outbox port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def take(self, *, lease_seconds: float, limits: Limits) -> Taken | None:
        """The delivery that is due the longest, of the project with the fewest under way; None where nothing is due."""
        shelf, now = self._shelf, self._shelf.now()
        with shelf.lock:
            under_way = [each for each in shelf.posted.values() if each.is_sent(now)]
            sending = {project: sum(each.delivery.project == project for each in under_way) for project in self._projects()}
            for project in sorted(sending, key=lambda project: (sending[project], project)):
                for each in self._due(project) if sending[project] < limits.project else ():
                    at_once = limits.unreachable if shelf.unreachable.get(each.place, now) > now else limits.endpoint
                    if sum(other.place == each.place for other in under_way) < at_once:
                        each.lease = to_ms(now + timedelta(seconds=lease_seconds))
                        return Taken(delivery=each.delivery.model_copy(update={"attempts": ()}), lease=each.lease)
        return None

    def _projects(self) -> set[str]:
        return {each.delivery.project for each in self._shelf.posted.values()}

    def _due(self, project: str) -> list[Posted]:
        now = self._shelf.now()
        due = [each for each in self._shelf.posted.values() if each.delivery.project == project and each.is_due(now)]
        return sorted(due, key=lambda each: (each.due_ms, each.delivery.id))

    def settle(self, taken: Taken, attempt: Attempt, verdict: Verdict) -> bool:
        """Record an attempt, and what comes after it. False, and nothing is done, where the lease has ended and another one was given."""
        shelf = self._shelf
        with shelf.lock:
            posted = shelf.posted.get(taken.delivery.id)
            if posted is None or posted.lease != taken.lease:
                return False
            delivery, posted.lease = posted.delivery, None
            attempts = (*delivery.attempts, attempt)[-ATTEMPTS_KEPT:]
            posted.delivery = delivery.model_copy(update={"attempts": attempts, "tries": delivery.tries + 1})
            if attempt.status is None:
                shelf.unreachable[posted.place] = shelf.now() + timedelta(seconds=UNREACHABLE_SECONDS)
            else:
                shelf.unreachable.pop(posted.place, None)
            if verdict.kind == "again":
                posted.delivery = posted.delivery.model_copy(
                    update={"next_attempt_at": from_ms(to_ms(shelf.now()) + int(verdict.after * 1000))}
                )
            else:
                self._close(posted, DeliveryState(verdict.kind), verdict.reason)
            if verdict.gone:
                shelf.told_off.add((delivery.job_id, posted.endpoint))
                for other in shelf.posted_of(delivery.job_id):
                    is_open = other.delivery.state is DeliveryState.PENDING and other.lease is None
                    if other.endpoint == posted.endpoint and is_open:
                        self._close(other, DeliveryState.FAILED, verdict.reason)
            return True

    def _close(self, posted: Posted, state: DeliveryState, reason: str | None) -> None:
        posted.delivery = posted.delivery.model_copy(update={"state": state, "reason": reason, "next_attempt_at": None})
        posted.gone_at = self._shelf.now() + timedelta(seconds=DELIVERY_SECONDS)

    def of(self, project: str, job_id: str) -> Sequence[Delivery]:
        """A job's deliveries, oldest first. Raises JobNotFound."""
        with self._shelf.lock:
            self._shelf.job(project, job_id)
            return [each.delivery for each in self._shelf.posted_of(job_id)]

    def replay(self, project: str, job_id: str, delivery_id: str) -> Delivery:
        """Send it again, now, and as often as a new one. Raises JobNotFound, DeliveryNotFound."""
        shelf = self._shelf
        with shelf.lock:
            shelf.job(project, job_id)
            posted = next((each for each in shelf.posted_of(job_id) if each.delivery.id == delivery_id), None)
            if posted is None:
                raise DeliveryNotFound(delivery_id, job_id=job_id)
            if not posted.is_sent(shelf.now()):
                again = {"state": DeliveryState.PENDING, "reason": None, "tries": 0, "next_attempt_at": shelf.now()}
                posted.delivery, posted.lease, posted.gone_at = posted.delivery.model_copy(update=again), None, None
            return posted.delivery


class MemorySecrets:
    """The Secrets port."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def of(self, project: str) -> Secret:
        """The one that holds now."""
        with self._shelf.lock:
            known = self._shelf.secrets.setdefault(project, Secret(current=new_secret()))
            if known.previous_until and known.previous_until <= self._shelf.now():
                known = self._shelf.secrets[project] = Secret(current=known.current)
            return known

    def rotate(self, project: str) -> Secret:
        """A new one; the old one signs beside it for a day."""
        with self._shelf.lock:
            old, until = self._shelf.secrets.get(project), self._shelf.now() + timedelta(seconds=SECRET_OVERLAP_SECONDS)
            fresh = Secret(current=new_secret())
            if old is not None:
                fresh = replace(fresh, previous=old.current, previous_until=until)
            self._shelf.secrets[project] = fresh
            return fresh

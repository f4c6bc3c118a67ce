"""Hearing oneself: only what the broker took and nobody brought, for longer than the limit, is deafness."""

from __future__ import annotations

import pytest

from service.jobs.errors import StoreUnavailable
from worker.hearing import Deaf, Hearing


class Bell:
    """Counts its rings; the broker may be gone."""

    def __init__(self) -> None:
        self.rung, self.gone, self.now, self.idle = 0, False, 100.0, True

    def ring(self) -> None:
        if self.gone:
            raise StoreUnavailable("gone")
        self.rung += 1

    def hearing(self) -> Hearing:
        return Hearing(ring=self.ring, idle=lambda: self.idle, limit_seconds=10, clock=lambda: self.now)


def test_a_ring_that_is_heard_is_followed_by_the_next():
    """One at a time."""
    bell = Bell()
    hearing = bell.hearing()

    for _ in range(3):
        hearing.check()
        hearing.check()
        hearing.heard()
        bell.now += 60

    assert bell.rung == 3


def test_a_ring_unheard_for_longer_than_the_limit_is_deafness():
    """Not before."""
    bell = Bell()
    hearing = bell.hearing()
    hearing.check()
    bell.now += 10
    hearing.check()

    bell.now += 1
    with pytest.raises(Deaf):
        hearing.check()


def test_a_busy_worker_is_not_deaf():
    """What it did not hear meanwhile counts for nothing."""
    bell = Bell()
    hearing = bell.hearing()
    hearing.check()
    bell.now, bell.idle = bell.now + 60, False
    hearing.check()

    bell.idle = True
    hearing.check()
    assert bell.rung == 2


def test_a_broker_that_is_gone_proves_nothing():
    """Its silence is no deafness, however long."""
    bell = Bell()
    hearing = bell.hearing()
    bell.gone = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            hearing.check()
        bell.now += 60

    bell.gone = False
    hearing.check()
    assert bell.rung == 1

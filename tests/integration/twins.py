"""Both stores side by side: every call goes to Redis and to its twin in memory, and their answers must be the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import redis

from service.access.quota import Quota
from service.adapters import memory, redis_jobs
from service.adapters.memory.shelf import Shelf
from service.adapters.stores import Stores
from service.jobs.errors import TrainyardError
from tests.integration.conftest import Clock

T = TypeVar("T")
_NO_STATE = ("now", "lease", "sweep", "lock", "waiters")


@dataclass(frozen=True)
class Moment:
    """Everything that both stores held at one time."""

    keys: dict[bytes, tuple[bytes, int]]
    shelf: dict[str, Any]
    sweeps: dict[str, Any]


class Twins:
    """The two, on one clock."""

    def __init__(self, url: str, *, clock: Clock, lease: int, sweep: int, quota: Quota) -> None:
        self.client = redis.Redis.from_url(url)
        self.client.flushall()
        settings: dict[str, Any] = {"lease_seconds": lease, "sweep_seconds": sweep, "quota": quota}
        self.redis = redis_jobs.connect(url, now_ms=clock.now_ms, **settings)
        self.memory = memory.stores(now=clock.now, **settings)

    def __call__(self, ask: Callable[[Stores], T]) -> T:
        """What both answer, or raise."""
        here, there = _answer(ask, self.redis), _answer(ask, self.memory)
        if isinstance(here, TrainyardError):
            assert (type(here), str(here)) == (type(there), str(there)), f"Redis refused, memory did not: {here!r}, {there!r}"
            raise here
        assert here == there
        return here

    def moment(self) -> Moment:
        """What a copy of Redis's disk would hold now."""
        names = self.client.keys("*")
        with self.client.pipeline() as pipeline:
            for name in names:
                pipeline.dump(name)
                pipeline.pttl(name)
            told = pipeline.execute()
        keys = {name: (dump, max(ttl, 0)) for name, dump, ttl in zip(names, told[::2], told[1::2], strict=True)}
        kept = [field.name for field in fields(Shelf) if field.name not in _NO_STATE]
        return Moment(keys, _copies(self._shelf, kept), _copies(self.memory.housekeeping, ["_last", "_grace_until"]))

    def go_back(self, to: Moment) -> None:
        """Come up again with what was on disk: all that was done since is lost."""
        with self.client.pipeline() as pipeline:
            pipeline.flushdb()
            for name, (dump, ttl) in to.keys.items():
                pipeline.restore(name, ttl, dump)
            pipeline.execute()
        for target, values in ((self._shelf, to.shelf), (self.memory.housekeeping, to.sweeps)):
            for name, value in copy.deepcopy(values).items():
                setattr(target, name, value)

    def close(self) -> None:
        """Let the connections go."""
        self.redis.close()
        self.client.close()

    @property
    def _shelf(self) -> Shelf:
        return self.memory.jobs._shelf


def _answer(ask: Callable[[Stores], T], stores: Stores) -> T | TrainyardError:
    try:
        return ask(stores)
    except TrainyardError as error:
        return error


def _copies(target: object, names: list[str]) -> dict[str, Any]:
    return copy.deepcopy({name: getattr(target, name) for name in names})

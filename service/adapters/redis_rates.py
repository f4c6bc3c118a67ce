"""Rates in Redis, over the event loop's own connection: one Lua call for a batch of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from service.access.rates import LENT_US, Grant, Policy
from service.adapters.redis_line import Lines
from service.adapters.redis_scripts import Scripts


class RedisRates:
    """The Rates port. Where its connection breaks, a thread asks once more: what the lost answer gave is lost, which is never too much."""

    def __init__(self, url: str, scripts: Scripts, *, seconds: float) -> None:
        self._lines, self._scripts = Lines(url, seconds=seconds), scripts

    async def take(self, who: str, policy: Policy, *, process: str, back: int, wanted: int) -> Grant:
        """Tokens, as service.access.rates.Bucket gives them. Raises StoreUnavailable."""
        limits = (policy.lent_to_one, policy.lent_to_all, LENT_US)
        args = (who, process, policy.interval_us, policy.burst, back, wanted, *limits)
        try:
            answer = await self._lines.ask(self._scripts.command("rate_take", *args))
        except RedisError:  # the connection broke, or the script is not there
            answer = await asyncio.to_thread(self._scripts.call, "rate_take", *args)
        return _grant(answer)

    async def aclose(self) -> None:
        """Let the connection go."""
        await self._lines.aclose()


def _grant(answer: Sequence[Any]) -> Grant:
    return Grant(*map(int, answer))

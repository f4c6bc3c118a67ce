"""Rates at the edge: each request takes a token of its key's rate, mostly one that was lent to this process, so that none waits for the store."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from service.access.ports import Rates
from service.access.rates import Grant, Policy, network_of
from service.jobs.errors import StoreUnavailable

SPENT_SECONDS = 2.0
"""How long lent tokens are spent here, from before they were asked for; the store takes them for out for longer."""
GIVE_BACK_SECONDS = 0.5
"""How often is given back what was not spent: until then other processes go without."""
REFUSED_SECONDS = 0.1
"""How long a refusal is repeated without asking again: a flood costs the store ten questions a second."""
AWAY_SECONDS = 1.0
"""How long nothing is asked of a store that was away. Meanwhile everybody is let in: what they want needs the store, which says so (503)."""
MOST_REMEMBERED = 10_000
WRONG_KEYS = Policy(name="wrong-keys", per_second=1, burst=100)
"""From one address. Many may share it, and a script with an old key may run behind it, so it is not small; a guesser gets nowhere at any such rate."""

Header = tuple[bytes, bytes]


class Standing(NamedTuple):
    """How somebody stands: whether this request was let in, tokens left, and seconds until all are there, or, of one refused, until it may come again."""

    let: bool
    left: int
    seconds: int


class Batch:
    """Requests that ask the store together."""

    task: asyncio.Task[Grant]

    def __init__(self) -> None:
        self.wanted = 0


class Account:
    """What this process has of one who asks. Used in one event loop."""

    def __init__(self, who: str, policy: Policy, *, rates: Rates, process: str, clock: Callable[[], float]) -> None:
        self._who, self._policy, self._rates, self._process, self._clock = who, policy, rates, process, clock
        self._lent, self._spent_until = 0, 0.0
        self._room, self._whole_at = policy.burst, 0.0
        self._refused_until, self._next_at = 0.0, 0.0
        self._gathering: Batch | None = None
        self._asking: asyncio.Task[Any] | None = None
        self._returning: asyncio.TimerHandle | None = None

    async def spend(self) -> Standing:
        """Take a token. Raises StoreUnavailable."""
        now = self._clock()
        if self._lent and now < self._spent_until:
            self._lent -= 1
            return self._standing(now)
        if now < self._refused_until:
            return self.refusal()
        return await self._ask()

    @property
    def is_shut(self) -> bool:
        """Whether the last token that is known of is gone."""
        return self._clock() < self._next_at

    def refusal(self) -> Standing:
        """When the next request may come."""
        return Standing(False, 0, max(1, math.ceil(self._next_at - self._clock())))

    def _standing(self, now: float) -> Standing:
        return Standing(True, self._room + self._lent, max(0, math.ceil(self._whole_at - now)))

    async def _ask(self) -> Standing:
        """With all who ask in the same turn of the loop, and while an earlier answer is awaited."""
        batch = self._gathering
        if batch is None:
            batch = self._gathering = Batch()
            batch.task = self._asking = asyncio.ensure_future(self._answer(batch, after=self._asking))
        place = batch.wanted
        batch.wanted += 1
        grant = await asyncio.shield(batch.task)
        return self._standing(self._clock()) if place < grant.let else self.refusal()

    async def _answer(self, batch: Batch, *, after: asyncio.Task[Any] | None) -> Grant:
        """What the batch is given; one question at a time, because each says what became of the tokens before."""
        if after is not None:
            await asyncio.wait([after])
        if self._gathering is batch:
            self._gathering = None
        sent = self._clock()
        at_hand, self._lent = (self._lent if sent < self._spent_until else 0), 0
        if 0 < batch.wanted <= at_hand:  # the answer before brought enough
            self._lent = at_hand - batch.wanted
            return Grant(batch.wanted, 0, 0, 0, 0)
        grant = await self._rates.take(self._who, self._policy, process=self._process, back=at_hand, wanted=batch.wanted)
        self._keep(grant, sent=sent, refused=batch.wanted > grant.let)
        return grant

    def _keep(self, grant: Grant, *, sent: float, refused: bool) -> None:
        now = self._clock()
        self._lent, self._spent_until, self._room = grant.lent, sent + SPENT_SECONDS, grant.room
        self._whole_at, self._next_at = now + grant.whole_us / 1e6, now + grant.next_us / 1e6
        self._refused_until = min(self._next_at, now + REFUSED_SECONDS) if refused else 0.0
        if grant.lent and self._returning is None:
            self._returning = asyncio.get_running_loop().call_later(GIVE_BACK_SECONDS, self._give_back)

    def _give_back(self) -> None:
        """What nobody spent goes to whoever asks elsewhere. A batch that is on its way takes it along."""
        self._returning = None
        if self._lent and (self._asking is None or self._asking.done()):
            self._asking = asyncio.ensure_future(self._return())

    async def _return(self) -> None:
        with suppress(StoreUnavailable):  # then it is lost: too little is let in for a while, never too much
            await self._answer(Batch(), after=None)


class Counted(NamedTuple):
    """A request that was counted, by what policy, and how that left who asked."""

    policy: Policy
    standing: Standing


class Rating:
    """Everybody's rates in this process. `keys` holds for each key, `nobody` for all who come without where none is needed; None is no limit."""

    def __init__(
        self,
        rates: Rates | None = None,
        *,
        keys: Policy | None = None,
        nobody: Policy | None = None,
        wrong: Policy = WRONG_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates, self._keys, self._nobody, self._wrong, self._clock = rates, keys, nobody, wrong, clock
        self._process = secrets.token_hex(4)
        self._askers: dict[str, Account] = {}
        self._guessers: dict[str, Account] = {}
        self._away_until = 0.0

    async def count(self, key_id: str | None) -> Counted | None:
        """Count a request of that key; None where there is no limit, or none that can be known."""
        policy = self._keys if key_id else self._nobody
        if policy is None:
            return None
        return await self._counted(self._askers, f"key:{key_id}" if key_id else "nobody", policy)

    async def count_wrong(self, address: str) -> Counted | None:
        """Count a wrong key from that address."""
        return await self._counted(self._guessers, _guesser(address), self._wrong)

    def shut(self, address: str) -> Counted | None:
        """How an address stands from which too many wrong keys came."""
        account = self._guessers.get(_guesser(address)) if self._guessers else None
        return Counted(self._wrong, account.refusal()) if account is not None and account.is_shut else None

    async def _counted(self, accounts: dict[str, Account], who: str, policy: Policy) -> Counted | None:
        if self._rates is None or self._clock() < self._away_until:
            return None
        account = accounts.get(who)
        if account is None:
            if len(accounts) >= MOST_REMEMBERED:
                accounts.clear()  # what they had been lent is lost
            account = accounts[who] = Account(who, policy, rates=self._rates, process=self._process, clock=self._clock)
        try:
            return Counted(policy, await account.spend())
        except StoreUnavailable:
            self._away_until = self._clock() + AWAY_SECONDS
            return None


def _guesser(address: str) -> str:
    return f"wrong:{network_of(address)}"


def told(counted: Counted) -> tuple[Header, Header]:
    """The headers of draft-ietf-httpapi-ratelimit-headers, as they are since its version 8: the policy, and what is left of it."""
    policy, (_, left, seconds) = counted
    name, declared = _declared(policy)
    return declared, (b"ratelimit", b"%b;r=%d;t=%d" % (name, left, seconds))


@cache
def _declared(policy: Policy) -> tuple[bytes, Header]:
    name = f'"{policy.name}"'.encode()
    return name, (b"ratelimit-policy", b"%b;q=%d;w=%d" % (name, policy.burst, math.ceil(policy.burst / policy.per_second)))

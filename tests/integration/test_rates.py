"""Rates of keys, on both stores: what is left is one figure for every process, and what processes were lent is neither lost nor doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.access.ports import Rates
from service.access.rates import LENT_US, Grant, Policy
from service.adapters import memory, redis_jobs
from service.adapters.stores import Stores
from service.api import rating as counting
from service.api.rating import Rating, Standing
from service.jobs.errors import StoreUnavailable
from tests.integration.conftest import Clock

SLOW = Policy(name="key", per_second=0.001, burst=100)
"""Nothing refills within a test."""
PROCESSES = ("11", "22", "33")
PAUSES = [0, 1, 40, 999, 1000, LENT_US // 1000 - 1, LENT_US // 1000, LENT_US // 1000 + 1, 60_000]
STEPS = st.tuples(st.sampled_from(PAUSES), st.sampled_from(PROCESSES), st.integers(0, 60), st.integers(0, 150))
POLICIES = st.builds(
    Policy, name=st.just("key"), per_second=st.sampled_from([0.001, 0.3, 3.0, 1000.0, 10_000.0]), burst=st.integers(1, 100_000)
)


class Heard:
    """The port, with what it was asked, about one who asks once at a time; away where it is told so."""

    def __init__(self, rates: Rates) -> None:
        self.rates, self.away, self.asked = rates, False, Counter[str]()
        self.asking, self.given_back, self.busy = asyncio.Event(), asyncio.Event(), set[tuple[str, str]]()

    async def take(self, who: str, policy: Policy, *, process: str, back: int, wanted: int) -> Grant:
        self.asked[who] += 1
        self.asking.set()
        if self.away:
            raise StoreUnavailable("away")
        assert (who, process) not in self.busy
        self.busy.add((who, process))
        await asyncio.sleep(0)
        grant = await self.rates.take(who, policy, process=process, back=back, wanted=wanted)
        self.busy.remove((who, process))
        if not wanted:
            self.given_back.set()
        return grant

    async def aclose(self) -> None:
        await self.rates.aclose()


def on(stores: Stores, story: Callable[[Heard], Awaitable[Any]]) -> Any:
    """What a story comes to, in a loop of its own."""

    async def run() -> Any:
        try:
            return await story(Heard(stores.rates))
        finally:
            await stores.rates.aclose()

    return asyncio.run(run())


async def standing(rating: Rating, key: str | None = "k") -> Standing:
    counted = await rating.count(key)
    assert counted is not None
    return counted.standing


async def let_in(rating: Rating, times: int) -> int:
    """How many of so many at once."""
    return sum(each.let for each in await asyncio.gather(*(standing(rating) for _ in range(times))))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(policy=POLICIES, steps=st.lists(STEPS, max_size=30))
def test_redis_and_its_twin_give_the_same(store_url: str, redis_url: str, policy: Policy, steps: list[tuple[int, str, int, int]]) -> None:
    """Whatever is asked when by whom, given back rightly or not."""
    clock = Clock()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        there, here = redis_jobs.connect(store_url, now_ms=clock.now_ms), memory.stores(now=clock.now)

        async def story() -> None:
            for pause, process, back, wanted in steps:
                clock.ms += pause
                told = [await each.rates.take("k", policy, process=process, back=back, wanted=wanted) for each in (there, here)]
                assert told[0] == told[1]
            await there.rates.aclose()

        asyncio.run(story())
        there.close()
        assert client.pttl("ty:rate:k") > 60_000 or not steps


def test_a_burst_is_let_in_and_then_as_many_as_refill(stores: Stores, clock: Clock) -> None:
    """Ten a second, a hundred at once: exactly that, over a minute on the store's clock."""
    policy = Policy(name="key", per_second=10, burst=100)

    async def story(rates: Heard) -> list[int]:
        rating = Rating(rates, keys=policy, clock=lambda: clock.ms / 1000)
        let = [await let_in(rating, 150)]
        for seconds in (0.1, 0.05, 0.05, 1, 3, 60):
            clock.pass_by(seconds)
            let.append(await let_in(rating, 150))
        return let

    assert on(stores, story) == [100, 1, 0, 1, 10, 30, 100]


def test_fifty_at_once_on_two_processes_are_let_in_exactly_as_often_as_was_said(stores: Stores) -> None:
    """Each asks both until both refuse. Nothing refills."""

    async def story(rates: Heard) -> int:
        ratings = [Rating(rates, keys=SLOW) for _ in range(2)]

        async def client(number: int) -> int:
            let = 0
            for rating in (ratings[number % 2], ratings[1 - number % 2]):
                while (await standing(rating)).let:
                    let += 1
            return let

        return sum(await asyncio.gather(*(client(number) for number in range(50))))

    assert on(stores, story) == SLOW.burst


def test_most_requests_do_not_wait_for_the_store(stores: Stores) -> None:
    """One question for twenty or so, and for all who ask at the same moment."""

    async def story(rates: Heard) -> tuple[int, int]:
        rating = Rating(rates, keys=Policy(name="key", per_second=0.001, burst=10_000))
        for _ in range(1000):
            await standing(rating)
        one_by_one = rates.asked["key:k"]
        await let_in(rating, 1000)
        return one_by_one, rates.asked["key:k"] - one_by_one

    one_by_one, at_once = on(stores, story)
    assert one_by_one == 2
    assert at_once <= 2


def test_who_comes_while_the_store_is_asked_waits_for_that_answer(stores: Stores) -> None:
    """What it brings is enough for them, too; where it is not, they ask together."""

    async def story(rates: Heard) -> list[int]:
        rating, asked = Rating(rates, keys=SLOW), []
        for others in (5, 20):
            before = rates.asked["key:k"]
            rates.asking.clear()
            first = asyncio.create_task(let_in(rating, 6))  # more than were left over from the last turn
            await rates.asking.wait()
            assert await let_in(rating, others) == others
            await first
            asked.append(rates.asked["key:k"] - before)
        return asked

    assert on(stores, story) == [1, 2]


def test_what_a_process_does_not_spend_another_gets(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "GIVE_BACK_SECONDS", 0.0)

    async def story(rates: Heard) -> int:
        one, two = (Rating(rates, keys=SLOW) for _ in range(2))
        await standing(one)
        async with asyncio.timeout(10):
            await rates.given_back.wait()
        return await let_in(two, 200)

    assert on(stores, story) == SLOW.burst - 1


def test_lent_tokens_are_not_spent_when_the_store_takes_them_for_lost(stores: Stores, clock: Clock) -> None:
    """A process that slept over them asks anew; what it had been lent is gone with the burst that another took meanwhile."""

    async def story(rates: Heard) -> tuple[int, bool]:
        one, two = (Rating(rates, keys=SLOW, clock=lambda: clock.ms / 1000) for _ in range(2))
        await standing(one)
        clock.ms += LENT_US // 1000
        return await let_in(two, 200), (await standing(one)).let

    assert on(stores, story) == (SLOW.burst - 1 - SLOW.lent_to_one, False)


def test_a_flood_that_is_refused_asks_the_store_ten_times_a_second(stores: Stores, clock: Clock) -> None:
    async def story(rates: Heard) -> int:
        rating = Rating(rates, keys=SLOW, clock=lambda: clock.ms / 1000)
        await let_in(rating, 101)
        before = rates.asked["key:k"]
        for _ in range(1000):
            clock.ms += 1
            assert not (await standing(rating)).let
        return rates.asked["key:k"] - before

    assert on(stores, story) == 10


def test_keys_do_not_share_their_rates(stores: Stores) -> None:
    async def story(rates: Heard) -> list[bool]:
        rating = Rating(rates, keys=SLOW)
        await let_in(rating, 101)
        return [(await standing(rating, key)).let for key in ("k", "other")]

    assert on(stores, story) == [False, True]


def test_who_comes_without_a_key_has_no_limit_unless_one_is_set(stores: Stores) -> None:
    async def story(rates: Heard) -> tuple[Any, Standing]:
        return await Rating(rates, keys=SLOW).count(None), await standing(Rating(rates, nobody=SLOW), None)

    without, within = on(stores, story)
    assert without is None
    assert (within.let, within.left) == (True, 99)


def test_what_is_left_is_told(stores: Stores, clock: Clock) -> None:
    """Of a hundred, ten a second: tokens, those lent to this process included, and seconds until all are there; of who is refused, until the next."""
    policy = Policy(name="key", per_second=10, burst=100)

    async def story(rates: Heard) -> list[Standing]:
        rating = Rating(rates, keys=policy, clock=lambda: clock.ms / 1000)
        first = [await standing(rating) for _ in range(3)]
        await let_in(rating, 96)
        return [*first, *[await standing(rating) for _ in range(2)]]

    assert on(stores, story) == [
        Standing(True, 99, 1),
        Standing(True, 98, 1),
        Standing(True, 97, 1),
        Standing(True, 0, 10),
        Standing(False, 0, 1),
    ]


def test_while_the_store_is_away_everybody_is_let_in_and_it_is_left_alone(stores: Stores, clock: Clock) -> None:
    """What they want needs the store, too, and says 503; afterwards the rate holds as before."""

    async def story(rates: Heard) -> tuple[list[Any], int, int]:
        rating = Rating(rates, keys=SLOW, clock=lambda: clock.ms / 1000)
        rates.away = True
        blind = [await rating.count("k") for _ in range(500)]
        asked, rates.away = rates.asked["key:k"], False
        clock.pass_by(counting.AWAY_SECONDS)
        return blind, asked, await let_in(rating, 200)

    blind, asked, let = on(stores, story)
    assert blind == [None] * 500
    assert (asked, let) == (1, SLOW.burst)


def test_a_redis_that_lost_its_scripts_counts_on(redis_stores: Stores, redis_url: str) -> None:
    """SCRIPT FLUSH, or another Redis at the same place."""

    async def story(rates: Heard) -> int:
        rating = Rating(rates, keys=SLOW)
        first = await let_in(rating, 20)
        with redis.Redis.from_url(redis_url) as client:
            client.script_flush()
        return first + await let_in(rating, 200)

    assert on(redis_stores, story) == SLOW.burst


def test_who_hung_up_holds_up_nobody(stores: Stores) -> None:
    """The request that others wait with is given up; they hear all the same."""

    async def story(rates: Heard) -> list[bool]:
        rating = Rating(rates, keys=SLOW)
        waiting = [asyncio.create_task(standing(rating)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        return [each.let for each in await asyncio.gather(*waiting[1:])]

    assert on(stores, story) == [True, True]

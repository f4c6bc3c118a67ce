"""Rates: no more than was said, from any moment on, whoever was lent what; and no less to who comes alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.access.rates import LENT_US, Bucket, Policy, network_of

SECOND = 1_000_000
PROCESSES = ("one", "two", "three")


@dataclass
class Process:
    """Somebody who spends what the bucket gives."""

    name: str
    bucket: Bucket
    policy: Policy
    lent: int = 0
    until_us: int = 0
    spent: list[int] = field(default_factory=list)
    """When each request was let in."""

    def ask(self, now_us: int, wanted: int, *, dies: bool = False) -> int:
        """As a process does: what it has is given back, unless it has just begun again; how many are let in."""
        back = 0 if dies or now_us >= self.until_us else self.lent
        grant = self.bucket.take(self.policy, process=self.name, now_us=now_us, back=back, wanted=wanted)
        self.lent, self.until_us = grant.lent, now_us + LENT_US
        self.spent += [now_us] * grant.let
        return grant.let

    def spend(self, now_us: int, wanted: int) -> None:
        """Of what it was lent."""
        if now_us < self.until_us:
            self.spent += [now_us] * min(wanted, self.lent)
            self.lent -= min(wanted, self.lent)


POLICIES = st.builds(
    Policy, name=st.just("key"), per_second=st.sampled_from([0.001, 0.3, 3.0, 7.0, 40.0, 1000.0]), burst=st.integers(1, 300)
)
STEPS = st.tuples(
    st.sampled_from([0, 1000, 40_000, SECOND, LENT_US - 1, LENT_US, LENT_US + 1, 60 * SECOND]),
    st.sampled_from(PROCESSES),
    st.sampled_from(["ask", "spend", "give back", "die"]),
    st.sampled_from([1, 2, 20, 1000]),
)
TEN = Policy(name="key", per_second=10, burst=100)


@settings(max_examples=300, deadline=None)
@given(POLICIES, st.lists(STEPS, max_size=40))
@example(TEN, [(0, "one", "ask", 1), (LENT_US - 1, "two", "ask", 1000), (0, "one", "spend", 5)])
@example(TEN, [(0, "one", "ask", 1), (LENT_US - 1, "one", "spend", 5), (1, "two", "ask", 1000)])
@example(TEN, [(0, "one", "ask", 1), (LENT_US - 1, "one", "ask", 1), (LENT_US - 1, "one", "spend", 5), (1, "two", "ask", 1000)])
def test_from_any_moment_on_no_more_is_let_in_than_was_said(policy: Policy, steps: list[tuple[int, str, str, int]]) -> None:
    """`burst + t / interval` in every window of t, whatever was lent, spent late, given back, or lost with a process."""
    bucket, now_us = Bucket(), 10**15
    processes = {name: Process(name, bucket, policy) for name in PROCESSES}

    for pause, name, does, number in steps:
        now_us += pause
        match does:
            case "ask":
                processes[name].ask(now_us, number)
            case "spend":
                processes[name].spend(now_us, number)
            case "give back":
                processes[name].ask(now_us, 0)
            case _:
                processes[name].ask(now_us, number, dies=True)

    times = sorted(time for process in processes.values() for time in process.spent)
    for first, last in combinations_with_replacement(sorted(set(times)), 2):
        let = sum(first <= time <= last for time in times)
        assert let <= policy.burst + (last - first) // policy.interval_us


@given(POLICIES, st.lists(st.tuples(st.sampled_from([0, 1000, SECOND, 9 * SECOND]), st.integers(0, 50)), max_size=30))
def test_who_comes_alone_to_one_process_gets_all_that_a_bucket_gives(policy: Policy, steps: list[tuple[int, int]]) -> None:
    """What is lent is as good as there, as long as the process gives back in time what it does not spend."""
    process, now_us, tokens_us = Process("one", Bucket(), policy), 10**15, policy.burst * policy.interval_us

    for pause, number in steps:
        process.ask(now_us + pause // 20, 0)
        now_us += pause
        tokens_us = min(policy.burst * policy.interval_us, tokens_us + pause)
        wanted = min(number, tokens_us // policy.interval_us)
        tokens_us -= wanted * policy.interval_us
        before = len(process.spent)
        process.spend(now_us, number)
        process.ask(now_us, number - (len(process.spent) - before))
        assert len(process.spent) - before == wanted


def test_the_last_tokens_are_lent_to_nobody() -> None:
    """Two processes that are asked in turn spend a burst to its end, though nothing refills and nothing is given back."""
    bucket, policy = Bucket(), Policy(name="key", per_second=0.001, burst=1000)
    processes = [Process(name, bucket, policy) for name in PROCESSES[:2]]
    let = 0

    for number in range(1200):
        process = processes[number % 2]
        before = len(process.spent)
        process.spend(number, 1)
        if len(process.spent) == before:
            process.ask(number, 1)
        let += len(process.spent) - before

    assert let == 1000
    assert max(process.lent for process in processes) == 0


@pytest.mark.parametrize(("left", "lent"), [(1000, 50), (201, 50), (101, 25), (5, 1), (4, 0)])
def test_less_is_lent_the_less_there_is(left: int, lent: int) -> None:
    """A quarter of what is left at most: it may be that nobody asks there again."""
    policy = Policy(name="key", per_second=0.001, burst=1000)
    bucket = Bucket(tat_us=(1000 - left) * policy.interval_us)

    grant = bucket.take(policy, process="one", now_us=0, back=0, wanted=1)

    assert (grant.let, grant.lent) == (1, lent)


def test_what_is_lent_keeps_its_place_until_it_is_known_to_be_lost() -> None:
    """A token a second, 100 at once: a process that is lent 5 and dies takes them along, once."""
    bucket, policy = Bucket(), Policy(name="key", per_second=1, burst=100)
    one, two = (Process(name, bucket, policy) for name in PROCESSES[:2])
    one.ask(0, 1)
    assert one.lent == 5

    assert two.ask(4 * SECOND, 200) == 95
    assert two.ask(4 * SECOND + 100 * SECOND, 200) == 100


@pytest.mark.parametrize(("burst", "lent"), [(1, 0), (19, 0), (20, 1), (1000, 50)])
def test_a_twentieth_of_the_burst_is_lent(burst: int, lent: int) -> None:
    grant = Bucket().take(Policy(name="key", per_second=1, burst=burst), process="one", now_us=0, back=0, wanted=1)

    assert (grant.let, grant.lent) == (1, lent)


def test_when_to_come_again_is_told() -> None:
    """In microseconds: until there is a token, and until all of them are there."""
    bucket, policy = Bucket(), Policy(name="key", per_second=4, burst=10)

    grant = bucket.take(policy, process="one", now_us=0, back=0, wanted=10)
    assert (grant.let, grant.room, grant.whole_us, grant.next_us) == (10, 0, 2_500_000, 250_000)
    refused = bucket.take(policy, process="one", now_us=100_000, back=0, wanted=1)
    assert (refused.let, refused.next_us) == (0, 150_000)
    assert bucket.take(policy, process="one", now_us=250_000, back=0, wanted=1).let == 1


def test_an_interval_is_rounded_up() -> None:
    """Never more than was said."""
    assert Policy(name="key", per_second=3, burst=1).interval_us == 333_334


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:1::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_machine_with_ipv6_has_a_whole_network(address: str, network: str) -> None:
    assert network_of(address) == network

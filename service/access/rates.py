"""How often somebody may ask: the generic cell rate algorithm, with tokens lent to processes. Knows no store, no clock of its own.

A rate is a bucket of `burst` tokens that fills by `per_second`; a request takes one. GCRA (ATM Forum, Traffic Management 4.1, section 4.4.2 and
appendix; ITU-T I.371) keeps of it one number, the time at which it would be whole again (TAT, the theoretical arrival time): there is a token
while TAT is no further ahead than the burst takes to fill, and each one taken moves it on by an interval.
To ask the store on every request would cost more than many requests do, so a process is lent some tokens in advance. A lent token still takes up its
place in the bucket: while it is out, others' tokens do not fill that place. That keeps the promise exact, whoever spends what when: from any moment on
no more than `burst + per_second * t` are spent in t seconds. What is not spent is given back; what is never given back is lost.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

LENT_US = 5_000_000
"""How long the store takes lent tokens for out. Processes stop spending long before (service/api/rating.py), so that no two clocks have to agree."""
HIGHEST_RATE, LOWEST_RATE, LARGEST_BURST = 10_000.0, 0.001, 100_000
"""Within these every figure is a whole number of microseconds that a double holds."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A rate by its name in headers: `per_second` on the average, `burst` at once."""

    name: str
    per_second: float
    burst: int

    @cached_property
    def interval_us(self) -> int:
        """Between two requests, rounded up: never more than was said."""
        return math.ceil(1e6 / self.per_second)

    @property
    def lent_to_one(self) -> int:
        """The most tokens that a process has in advance."""
        return self.burst // 20

    @property
    def lent_to_all(self) -> int:
        """The most that all have: so much smaller may the burst be that is left to one of them."""
        return self.burst // 5


class Grant(NamedTuple):
    """What was given: to requests that wait, and in advance; the tokens left; microseconds until the bucket is whole, and until there is a token."""

    let: int
    lent: int
    room: int
    whole_us: int
    next_us: int


class Loan(NamedTuple):
    """Tokens that a process has, and until when they count as out."""

    tokens: int
    until_us: int


@dataclass
class Bucket:
    """Of one who asks. `tat_us` is the time at which it is whole; times are microseconds since any one moment."""

    tat_us: int = 0
    out: dict[str, Loan] = field(default_factory=dict)

    def take(self, policy: Policy, *, process: str, now_us: int, back: int, wanted: int) -> Grant:
        """Tokens for `wanted` requests, as many as there are, and some in advance; `back` are those of its last loan that the process did not spend.

        Near the end of a burst less is lent, and at last nothing: the last tokens go to whoever asks, on whichever process.
        """
        interval, whole_at = policy.interval_us, policy.burst * policy.interval_us
        self._settle(interval, now_us)
        own = self.out.pop(process, None)
        if own is not None:
            self.tat_us -= min(back, own.tokens) * interval
        self.tat_us = max(self.tat_us, now_us)
        room = max(0, (now_us + whole_at - self.tat_us) // interval)
        let = min(wanted, room)
        spare = policy.lent_to_all - sum(loan.tokens for loan in self.out.values())
        lent = max(0, min(policy.lent_to_one, spare, (room - let) // 4)) if wanted else 0
        if lent:
            self.out[process] = Loan(lent, now_us + LENT_US)
        self.tat_us += (let + lent) * interval
        return Grant(let, lent, room - let - lent, self.tat_us - now_us, max(0, self.tat_us + interval - whole_at - now_us))

    def _settle(self, interval: int, now_us: int) -> None:
        """No token took the place of one that was out, up to now, or up to when it ceased to be."""
        out = sum(loan.tokens for loan in self.out.values())
        for process, loan in sorted(self.out.items(), key=lambda item: item[1].until_us):
            if loan.until_us > now_us:
                break
            self.tat_us = max(self.tat_us, loan.until_us + out * interval)
            out -= loan.tokens
            del self.out[process]
        self.tat_us = max(self.tat_us, now_us + out * interval)


def network_of(address: str) -> str:
    """Whose address it is: of IPv6 the /64, for a single machine has all of one (RFC 7217, RFC 8981)."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(known) if known.version == 4 else str(ipaddress.ip_network((int(known), 64), strict=False))

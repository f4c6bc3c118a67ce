"""Sizes, times and curves as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.client.words import PLAIN_BLOCKS, ago, blocks_of, duration, size, spark, until

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (1234, "1.2 KB"),
        (99_949, "99.9 KB"),
        (99_960, "100 KB"),
        (999_499, "999 KB"),
        (999_500, "1.0 MB"),
        (5e9, "5.0 GB"),
        (2e15, "2000 TB"),
    ],
)
def test_sizes(count: float, said: str):
    """In powers of 1000, two or three digits."""
    assert size(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (65, "1 min 5 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, said: str):
    """Two units at most."""
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (None, ""),
        ("2026-11-26T11:59:55Z", "just now"),
        ("2026-11-26T11:59:20Z", "40 s ago"),
        ("2026-11-26T11:57:00Z", "3 min ago"),
        ("2026-11-26T09:00:00Z", "3 h ago"),
        ("2026-11-20T12:00:00Z", "6 d ago"),
    ],
)
def test_ages(at: str | None, said: str):
    """By the largest unit."""
    assert ago(at, now=NOW) == said


def test_times_to_come():
    """In so much time; soon, where it has come."""
    assert until("2026-11-26T12:05:00Z", now=NOW) == "in 5 min"
    assert until("2026-11-26T11:05:00Z", now=NOW) == "soon"


def test_curves():
    """Low is low and high is high; many values become means; what is no number is left out; a flat line is one."""
    assert spark([0, 1], width=8) == "▁█"
    assert spark(range(800), width=8) == "▁▂▃▄▅▆▇█"
    assert spark([1.0, float("nan"), float("inf"), 2.0], width=8) == "▁█"
    assert spark([3.0, 3.0], width=8) == "▁▁"
    assert spark([], width=8) == ""
    assert spark([0, 1], width=8, blocks=blocks_of("ascii")) == PLAIN_BLOCKS[0] + PLAIN_BLOCKS[-1]

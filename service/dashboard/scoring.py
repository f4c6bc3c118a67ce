"""Which of several runs did best, metric by metric. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.spec.monitors import better

LOWER, HIGHER = frozenset({"peak_memory_bytes", "train_seconds"}), frozenset({"samples_per_second"})


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One metric's values, a run each, and the places of the best of them; none where all are equal, or nobody can say what is better."""

    name: str
    values: Sequence[float | None]
    best: frozenset[int]


def scores(runs: Sequence[Mapping[str, float]]) -> list[Scores]:
    """Every metric that any of the runs has, those of unseen data first."""
    names = dict.fromkeys(name for metrics in runs for name in metrics)
    return [_scores(name, [metrics.get(name) for metrics in runs]) for name in sorted(names, key=_rank)]


def from_best(runs: Sequence[Mapping[str, float]], name: str) -> list[int]:
    """The places of the runs, the best one by this metric first; those without it last."""
    sign = -1 if _way(name) == "max" else 1

    def key(place: int) -> tuple[bool, float]:
        value = runs[place].get(name)
        return (value is None, 0.0 if value is None else sign * value)

    return sorted(range(len(runs)), key=key)


def _scores(name: str, values: Sequence[float | None]) -> Scores:
    way, there = _way(name), [value for value in values if value is not None]
    if way is None or len(set(there)) < 2:
        return Scores(name=name, values=values, best=frozenset())
    best = min(there) if way == "min" else max(there)
    return Scores(name=name, values=values, best=frozenset(at for at, value in enumerate(values) if value == best))


def _way(name: str) -> Literal["min", "max"] | None:
    if name in LOWER:
        return "min"
    if name in HIGHER:
        return "max"
    match better(name):
        case "min":
            return "min"
        case "max":
            return "max"
        case _:
            return None


def _rank(name: str) -> tuple[int, str, str]:
    split, _, value = name.partition("_")
    order = ("test", "val", "train")
    if split not in order or name == "train_seconds":
        return len(order), "", name
    return order.index(split), {"loss": "0", "accuracy": "1"}.get(value, "2"), value

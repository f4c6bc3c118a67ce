"""Which jobs a list shows, and in which order: the rules, and what they have to know of each job. No storage here."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

from service.jobs.job import Job
from service.jobs.state import JobState

SORTED_AMONG = 2000
"""Only so many matches, the newest, are put in another order than that of their creation."""
SORT_KEY = r"-?[a-zA-Z][a-zA-Z0-9_]{0,99}"
_LIFE = {state: place for place, state in enumerate(JobState)}


@dataclass(frozen=True, order=True)
class Cursor:
    """A place in a list of jobs, newest first: a job's creation in ms, and its id."""

    created_ms: int
    job_id: str

    def __str__(self) -> str:
        return _packed([self.created_ms, self.job_id])

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The place that `str` wrote. Raises ValueError."""
        created, job_id = _unpacked(text, 2)
        return cls(int(created), str(job_id))


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What of a job has to be known to find it and to sort it."""

    place: Cursor
    state: JobState
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    kinds: str = ""
    finished_ms: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a job must have to be listed, besides its state."""

    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    text: str | None = None
    """Looked for, whatever the case, in id, name, labels and kinds."""

    @property
    def is_anything(self) -> bool:
        """Whether every job will do."""
        return not self.labels and self.name is None and not self.text

    def has(self, each: Summary) -> bool:
        """Whether this one will."""
        if not self.labels.items() <= each.labels.items() or self.name not in (None, each.name):
            return False
        if not self.text:
            return True
        words = (each.place.job_id, each.name, each.kinds, *(f"{key}:{value}" for key, value in each.labels.items()))
        return self.text.casefold() in "\n".join(words).casefold()


def kinds_of(spec: Mapping[str, Any]) -> str:
    """What a spec trains on and what it trains, in its own words: `MNIST Sequential`, `Upload flowers torchvision resnet18`."""
    words: list[str] = []
    for part in (spec.get("dataset"), spec.get("model")):
        told = {"type": part} if isinstance(part, str) else part if isinstance(part, Mapping) else {}
        words += [word for name in ("type", "name", "class_name", "root", "job_id") if isinstance(word := told.get(name), str)]
    return " ".join(words)


def summary_of(job: Job, place: Cursor) -> Summary:
    """The summary of a job that is there whole."""
    return Summary(
        place=place,
        state=job.state,
        name=job.name or "",
        labels=job.labels,
        kinds=kinds_of(job.spec),
        finished_ms=int(job.finished_at.timestamp() * 1000) if job.finished_at else None,
        metrics=job.metrics,
    )


@dataclass(frozen=True, kw_only=True)
class Order:
    """How a list is sorted. By `created_at` it is always newest first; of equals the newest is first, and who lacks the value comes last."""

    key: str
    descending: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """`name`, or `-name` for descending. Raises ValueError."""
        if not re.fullmatch(SORT_KEY, text):
            raise ValueError(
                f"{text!r} is no key to sort by: created_at, name, state, finished_at, or a metric's name, as in -val_accuracy."
            )
        return cls(key=text.removeprefix("-"), descending=text.startswith("-"))

    @property
    def is_newest_first(self) -> bool:
        """Whether jobs come as they lie."""
        return self.key == "created_at"

    @property
    def metric(self) -> str | None:
        """The metric that it goes by, if it does."""
        return None if self.key in ("created_at", "name", "state", "finished_at") else self.key

    def page(self, found: Sequence[Summary], *, after: str | None, limit: int) -> tuple[list[Cursor], str | None]:
        """The places of one page, and the cursor of the next. Raises ValueError for a cursor of another list."""
        entries = self._sorted(_Entry(value=self._value(each), place=each.place) for each in found)
        if after is not None:
            last = self._entry(after)
            entries = self._sorted([*(each for each in entries if each.place != last.place), last])
            entries = entries[entries.index(last) + 1 :]
        page = entries[:limit]
        return [each.place for each in page], self._cursor(page[-1]) if entries[limit:] else None

    def _value(self, each: Summary) -> str | float | None:
        match self.key:
            case "name":
                return each.name.casefold() or None
            case "state":
                return _LIFE[each.state]
            case "finished_at":
                return each.finished_ms
            case metric:
                return each.metrics.get(metric)

    def _sorted(self, entries: Iterable[_Entry]) -> list[_Entry]:
        newest_first = sorted(entries, key=lambda each: each.place, reverse=True)
        there = [each for each in newest_first if each.value is not None]
        there.sort(key=lambda each: each.value, reverse=self.descending)  # type: ignore[arg-type,return-value]  # None is not among them
        return [*there, *(each for each in newest_first if each.value is None)]

    def _cursor(self, last: _Entry) -> str:
        return _packed([self.key, last.value, last.place.created_ms, last.place.job_id])

    def _entry(self, cursor: str) -> _Entry:
        key, value, created, job_id = _unpacked(cursor, 4)
        kind: tuple[type, ...] = (str,) if self.key == "name" else (int, float)
        if key != self.key or not isinstance(value, (*kind, type(None))):
            raise _not_ours(cursor)
        return _Entry(value=cast("str | float | None", value), place=Cursor(int(created), str(job_id)))


@dataclass(frozen=True, kw_only=True)
class _Entry:
    value: str | float | None
    place: Cursor


def _packed(place: Sequence[str | float | None]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def _unpacked(text: str, parts: int) -> list[Any]:
    try:
        place = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise _not_ours(text) from error
    if not isinstance(place, list) or len(place) != parts or not isinstance(place[-2], int):
        raise _not_ours(text)
    return place


def _not_ours(cursor: str) -> ValueError:
    return ValueError(f"{cursor!r} is not a cursor of this list")

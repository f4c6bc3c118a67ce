"""Specs that can be submitted, and the late ones remembered: a thousand jobs of a sweep are judged once."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from service.jobs.estimating import estimate
from service.jobs.ports import Outlook
from service.spec.job import JobSpec, Own
from service.spec.training import Resources
from service.spec.verdict import Estimate, Memory, SpecWarning, Verdict

REMEMBERED = 1000
OWN = frozenset(Own.model_fields)


class Learnt:
    """What finished jobs tell of a spec, kept until there are others."""

    def __init__(self, resolved: Mapping[str, Any], memory: Memory | None) -> None:
        self._resolved, self._memory = resolved, memory
        self._latest: tuple[Outlook, Estimate] | None = None

    def by(self, outlook: Outlook) -> Estimate:
        """The estimate under this outlook."""
        latest = self._latest
        if latest is None or latest[0] is not outlook:
            device = self._resolved["resources"]["device"]
            learnt = estimate(self._resolved, memory=self._memory, device=None if device == "auto" else device, finished=outlook.finished)
            self._latest = latest = outlook, learnt
        return latest[1]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A spec that can be submitted. `resolved_spec` and `learnt` are None where torch is not beside the API."""

    own: Own
    resources: Resources
    warnings: tuple[SpecWarning, ...]
    resolved_spec: Mapping[str, Any] | None
    learnt: Learnt | None

    @classmethod
    def by(cls, spec: JobSpec, found: Verdict) -> Judged:
        """What the verdict says of the spec."""
        return cls(
            own=Own(name=spec.name, labels=spec.labels, seed=spec.seed, notify=spec.notify),
            resources=spec.resources,
            warnings=found.warnings,
            resolved_spec=found.resolved_spec,
            learnt=Learnt(found.resolved_spec, found.memory_bytes) if found.resolved_spec is not None else None,
        )

    def with_own(self, own: Own) -> Judged:
        """The same spec under another name, with other labels and another seed."""
        resolved = self.resolved_spec and {**self.resolved_spec, "name": own.name, "labels": own.labels, "seed": own.seed}
        return Judged(own=own, resources=self.resources, warnings=self.warnings, resolved_spec=resolved, learnt=self.learnt)


class Judgements:
    """The specs of late that were found good, by all that the verdict depends on."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Judged] = OrderedDict()

    def recall(self, body: Mapping[str, Any], shape: str) -> Judged | None:
        """What is known of a spec that differs from an earlier one in what is its own at most; None where that is faulty."""
        with self._lock:
            known = self._known.get(shape)
            if known is None:
                return None
            self._known.move_to_end(shape)
        try:
            return known.with_own(Own.model_validate({name: body[name] for name in OWN if name in body}))
        except ValidationError:
            return None

    def keep(self, shape: str, judged: Judged) -> None:
        """Remember a good spec, and forget the one that was not asked for the longest."""
        with self._lock:
            self._known[shape] = judged
            while len(self._known) > self._remembered:
                self._known.popitem(last=False)


_compact = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder for every call


def shape_of(body: Mapping[str, Any]) -> str:
    """A spec but for what is its own, as text."""
    return _compact({name: None if name in OWN else value for name, value in body.items()})

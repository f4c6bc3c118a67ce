"""The whole check of a spec in this very process: reading, building, and the verdict of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.spec.checking import needed, verdict
from service.spec.job import JobSpec
from service.spec.verdict import Verdict
from worker.training.preflight import check


def checked(body: Mapping[str, Any], *, threads: int = 1) -> Verdict:
    """The verdict."""
    return verdict(body, check(needed(body)), threads=threads)


def resolved(body: Mapping[str, Any]) -> JobSpec:
    """The resolved spec of a body that has to be valid."""
    found = checked(body)
    assert found.valid, found.errors
    return JobSpec.model_validate(found.resolved_spec)

"""The whole check of a spec in this very process: reading, building, and the verdict of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.api.examples import examples
from service.spec.checking import needed, verdict
from service.spec.dataset import BROUGHT
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


def complete_examples() -> list[str]:
    """The names of the examples that run as they are; the others need data of one's own."""
    return [name for name, spec in examples().items() if not isinstance(spec["dataset"], dict) or spec["dataset"]["type"] not in BROUGHT]

"""What is changed in a spec so that the next attempt need not end like the last one. Where nothing can be, why."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.adapters.stores import retries_used_up
from service.jobs.job import Job, JobError
from service.jobs.ports import Outcome, Report
from service.jobs.state import INFRASTRUCTURE, Reason
from service.spec.verdict import SpecWarning, Verdict
from worker.reports import event
from worker.training.facts import Failed

SMALLER = "Use a smaller dataloader.batch_size or model, or a machine with more memory."


class NoRemedy(Exception):
    """Another attempt would end alike, or be another training; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """The resolved spec of the next attempt, what to warn of, and why the weights are no longer those of the spec as submitted, if so."""

    spec: dict[str, Any]
    warning: SpecWarning
    inexact: str | None = None


def ended_by(fact: Failed, job: Job, spec: dict[str, Any], check: Callable[[dict[str, Any]], Verdict]) -> tuple[Outcome, Report | None]:
    """How an attempt of this resolved spec ends that failed so, and what the store has to know before another one starts."""
    # only custom code says what is no reason
    reason = Reason(fact.code) if fact.code in set(Reason) else Reason.USER_CODE
    hint = fact.hint or (SMALLER if reason is Reason.OUT_OF_MEMORY else retries_used_up(reason).hint if reason in INFRASTRUCTURE else None)
    error = JobError(code=reason, message=fact.message, hint=hint)
    rolls_back = reason is Reason.NAN_LOSS and bool(fact.skip_batches)
    if reason is not Reason.OUT_OF_MEMORY and not rolls_back:
        return Outcome(kind="give_back" if reason in INFRASTRUCTURE else "failed", reason=reason, error=error), None
    try:
        remedy = after_nan_loss(job, spec, check, fact) if rolls_back else after_out_of_memory(job, spec, check)
    except NoRemedy as why:
        return Outcome(kind="failed", error=error.model_copy(update={"message": f"{fact.message} {why}"})), None
    told = event("changed", remedy.warning.detail, {"reason": reason, "pointer": remedy.warning.pointer})
    report = Report(resolved_spec=remedy.spec, warnings=[remedy.warning], inexact=remedy.inexact, events=[told])
    return Outcome(kind="give_back", reason=reason, error=error), report


def after_out_of_memory(job: Job, spec: dict[str, Any], check: Callable[[dict[str, Any]], Verdict]) -> Remedy:
    """Batches of half the size, and twice as many to a step. Once. Raises NoRemedy."""
    if any(step.reason is Reason.OUT_OF_MEMORY for step in job.transitions):
        raise NoRemedy("Memory ran out again, with batches of half the size.")
    if job.max_retries == 0:
        raise NoRemedy("With resources.max_retries: 0 nothing else was tried.")
    size = spec["dataloader"]["batch_size"]
    if size == 1:
        raise NoRemedy("A batch is one sample already.")
    if spec["loss"].get("reduction") == "sum":
        raise NoRemedy("With reduction: sum smaller batches would take other steps, so nothing else was tried.")
    found = check(halved(spec))
    if found.resolved_spec is None:
        faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in found.errors)
        raise NoRemedy(f"Batches of half the size cannot be had: {faults}")
    steps = found.resolved_spec["training"]["gradient_accumulation_steps"]
    detail = f"Memory ran out: batches have {size // 2} samples now, not {size}, and {steps} of them make a step."
    warning = SpecWarning(pointer="/dataloader/batch_size", code="batch_size_halved", detail=detail, suggestion=SMALLER)
    return Remedy(spec=found.resolved_spec, warning=warning, inexact="out_of_memory")


def rollbacks(job: Job) -> int:
    """How often the job went back because of a loss that was no number."""
    return sum(step.reason is Reason.NAN_LOSS for step in job.transitions)


def after_nan_loss(job: Job, spec: dict[str, Any], check: Callable[[dict[str, Any]], Verdict], fact: Failed) -> Remedy:
    """The batches that led there are left out from now on. Raises NoRemedy."""
    if job.max_retries == 0:
        raise NoRemedy("With resources.max_retries: 0 nothing else was tried.")
    training = spec["training"]
    found = check({**spec, "training": {**training, "skip_batches": [*training["skip_batches"], *fact.skip_batches]}})
    if found.resolved_spec is None:
        faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in found.errors)
        raise NoRemedy(f"The batches that led there cannot be left out: {faults}")
    shown = ", ".join(f"[{epoch}, {number}]" for epoch, number in fact.skip_batches)
    detail = f"{fact.message} These batches are left out from now on (training.skip_batches, counted from 0): {shown}."
    warning = SpecWarning(pointer="/training/skip_batches", code="batches_left_out", detail=detail, suggestion=fact.hint)
    return Remedy(spec=found.resolved_spec, warning=warning)


def halved(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with batches of half the size, those of evaluation too, since nobody knows which were too large."""
    smaller = copy.deepcopy(spec)
    loader, training = smaller["dataloader"], smaller["training"]
    loader["batch_size"] = max(1, loader["batch_size"] // 2)
    loader["eval_batch_size"] = max(1, loader["eval_batch_size"] // 2)
    training["gradient_accumulation_steps"] *= 2
    before, after = spec["dataloader"]["batch_size"], loader["batch_size"]
    training["skip_batches"] = sorted(
        {(epoch, each) for epoch, number in training["skip_batches"] for each in _covering(number, before, after)}
    )
    return smaller


def _covering(number: int, before: int, after: int) -> range:
    """The batches of the new size that have samples of this one of the old size."""
    return range(number * before // after, -(-(number + 1) * before // after))

"""Turns facts into reports for the store, a few a second; what the store cannot take now waits, in order."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from service.jobs.errors import StoreUnavailable
from service.jobs.ports import Claim, FactLog, Report
from service.spec.verdict import SpecWarning
from worker.training.facts import (
    EpochDone,
    Evaluated,
    Fact,
    FirstStepDone,
    HardwareChanged,
    LogLine,
    PhaseStarted,
    PlanChosen,
    StepDone,
    StepsLogged,
    Stopped,
    TrainingStarted,
    Warned,
)

REPORT_SECONDS = 0.5
LINES_AT_ONCE = 500
LONGEST_LINE = 4096
"""Characters of a line of the log: the store counts lines."""
STEPS_AT_ONCE = 2000
WAITING_AT_MOST = 10_000


class Reporter:
    """One attempt's reports, from any of its threads. Raises Fenced, never StoreUnavailable."""

    def __init__(self, facts: FactLog, claim: Claim) -> None:
        self._lock = threading.RLock()
        self._facts, self._claim = facts, claim
        self._waiting: deque[Report] = deque(maxlen=WAITING_AT_MOST)
        self._lines: list[str] = []
        self._progress: dict[str, Any] = {}
        self._flushed = self._started = time.monotonic()
        self._first_step = 0

    def tell(self, fact: Fact) -> None:
        """Take a fact in; urgent ones (a phase, a result) go out at once, an epoch within `REPORT_SECONDS`."""
        match fact:
            case TrainingStarted():
                self._started, self._first_step = time.monotonic(), fact.start_step
                self._progress = {"epochs": fact.epochs, "steps": fact.steps}
                resumed = f", resuming after step {fact.start_step}" if fact.start_step else ""
                report = Report(progress=self._at(fact.start_epoch, fact.start_step), dataset_digest=fact.dataset_digest)
                self._add(report, f"{fact.epochs} epochs, {fact.steps} steps{resumed}")
            case StepDone():
                self._waiting.append(Report(progress=self._at(fact.epoch, fact.step)))
            case StepsLogged():
                rows = fact.rows()
                self._waiting += [Report(steps=rows[at : at + STEPS_AT_ONCE]) for at in range(0, len(rows), STEPS_AT_ONCE)]
            case EpochDone():
                latest = {**fact.metrics, "samples_per_second": fact.samples_per_second}
                shown = ", ".join(f"{name} {value:.4g}" for name, value in fact.metrics.items())
                report = Report(
                    progress=self._at(fact.epoch, fact.step),
                    metrics=latest,
                    row=fact.row(),
                    best=fact.best,
                    events=[event("epoch", f"epoch {fact.epoch}: {shown}", latest)],
                )
                self._add(report, f"epoch {fact.epoch}: {shown}", force=False)
            case Stopped():
                self._add(Report(progress=self._at(fact.epoch, fact.step)), f"stopped after step {fact.step}")
            case LogLine():
                self.log(fact.text)
            case PhaseStarted() | PlanChosen() | FirstStepDone() | Evaluated() | Warned() | HardwareChanged():
                self._add(*news(fact))

    def log(self, text: str) -> None:
        """Lines for the job's log."""
        self._lines += [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..." for line in text.splitlines()[:LINES_AT_ONCE]]

    def say(self, type: str, message: str, data: Mapping[str, Any] | None = None) -> None:
        """An event, and a log line with it."""
        self._add(Report(events=[event(type, message, data or {})]), message)

    def put(self, report: Report) -> None:
        """A report as it is."""
        self._add(report)

    def flush(self, *, force: bool = False) -> None:
        """Send what waits, if it is time. Raises Fenced."""
        with self._lock:
            if force or time.monotonic() - self._flushed >= REPORT_SECONDS:
                self._send()

    def _send(self) -> None:
        self._flushed = time.monotonic()
        while self._lines:
            batch, self._lines = self._lines[:LINES_AT_ONCE], self._lines[LINES_AT_ONCE:]
            self._waiting.append(Report(logs=batch))
        try:
            while self._waiting:
                self._facts.report(self._claim, self._waiting[0])
                self._waiting.popleft()
        except StoreUnavailable:
            return  # training goes on; the next flush tries again

    @property
    def is_behind(self) -> bool:
        """Whether the store has not taken everything yet."""
        return bool(self._waiting)

    def _add(self, report: Report, line: str | None = None, *, force: bool = True) -> None:
        with self._lock:
            self._waiting.append(replace(report, logs=[*self._lines, *report.logs, *([line] if line else [])]))
            self._lines = []
            self.flush(force=force)

    def _at(self, epoch: int, step: int) -> dict[str, Any]:
        steps = self._progress.get("steps", 0)  # custom code may tell of a step before its start
        done, elapsed = step - self._first_step, time.monotonic() - self._started
        eta = round(elapsed / done * (steps - step), 1) if done > 0 else None
        return {
            **self._progress,
            "epoch": epoch,
            "step": step,
            "percent": round(100 * step / steps, 2) if steps else 0.0,
            "eta_seconds": eta,
        }


def news(fact: PhaseStarted | PlanChosen | FirstStepDone | Evaluated | Warned | HardwareChanged) -> tuple[Report, str]:
    """The report and the log line of a fact that stands for itself."""
    match fact:
        case PhaseStarted():
            return Report(phase=fact.phase), fact.phase
        case PlanChosen():
            line = f"precision: auto takes {fact.plan}; a step took {'; '.join(fact.measured)}"
            return Report(events=[event("plan", line, {"training": fact.training, "measured": fact.measured})]), line
        case FirstStepDone():
            line, at = f"step {fact.step} is done", datetime.fromtimestamp(fact.at, UTC).isoformat()
            return Report(events=[event("first_step", line, {"step": fact.step, "at": at})]), line
        case Evaluated():
            line = ", ".join(f"{name} {value:.4g}" for name, value in fact.metrics.items())
            return Report(metrics=fact.metrics, events=[event("metrics", line, fact.metrics)]), line
        case Warned():
            warning = SpecWarning(pointer=fact.pointer, code=fact.code, detail=fact.detail)
            return Report(warnings=[warning], events=[event("warning", fact.detail, warning.model_dump())]), fact.detail
        case HardwareChanged():
            told = event("inexact", fact.detail, {"reason": "hardware_changed"})
            return Report(inexact="hardware_changed", events=[told]), fact.detail


def event(type: str, message: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """An event as the store takes it."""
    json.dumps(data)  # an event that is no JSON is a fault here, not in the store
    return {"type": type, "message": message, "data": dict(data)}

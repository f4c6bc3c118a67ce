"""When what an attempt tells goes to the store."""

from __future__ import annotations

from typing import Any

import pytest

from service.jobs.ports import Report
from worker import reports
from worker.reports import Reporter
from worker.training.facts import EpochDone, PhaseStarted


class Store:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Report] = []

    def report(self, _: Any, report: Report) -> None:
        self.told.append(report)

    def epochs(self) -> list[int]:
        return [report.row["epoch"] for report in self.told if report.row]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def reporter(store: Store) -> Reporter:
    return Reporter(store, claim=None)  # type: ignore[arg-type]  # of a store only `report` is used, and the claim by it


def epoch(number: int) -> EpochDone:
    return EpochDone(
        epoch=number, step=10 * number, metrics={"train_loss": 1 / number}, train_seconds=0.01, samples_per_second=100.0, at=0.0
    )


def test_short_epochs_wait_for_each_other(store: Store, reporter: Reporter, monkeypatch: pytest.MonkeyPatch):
    """None of them is lost or overtakes another; what is urgent takes them along."""
    monkeypatch.setattr(reports, "REPORT_SECONDS", 3600)
    for number in (1, 2, 3):
        reporter.tell(epoch(number))
    waited = list(store.told)

    reporter.tell(PhaseStarted(phase="evaluating"))

    assert waited == []
    assert (store.epochs(), store.told[-1].phase) == ([1, 2, 3], "evaluating")


def test_an_epoch_goes_out_at_once_where_nothing_did_just_before(store: Store, reporter: Reporter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reports, "REPORT_SECONDS", 0)

    reporter.tell(epoch(1))

    assert store.epochs() == [1]

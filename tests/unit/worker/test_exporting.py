"""Exports that die, hang, or have to stop: a warning with the reason, no file, and a training that has succeeded."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import worker.exporting
from tests.checking import resolved
from worker.exporting import export_each
from worker.training.facts import Exporting, Warned, from_line, to_line
from worker.training.loop import Run
from worker.training.preparing import prepare

BODY = {
    "dataset": {"type": "Digits", "limit": 20},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": "SGD",
    "epochs": 1,
    "export": ["pt2", "onnx"],
}


@pytest.fixture
def run() -> Run:
    return prepare(resolved(BODY), datasets_dir=Path())


def dies(_: Run, __: Any, path: Path) -> NoReturn:
    """With half a file behind it, as the kernel ends it where memory runs out."""
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hangs(*_: object) -> NoReturn:
    """For ever."""
    threading.Event().wait()
    raise AssertionError


def fills_the_disk(*_: object) -> NoReturn:
    raise OSError(28, "No space left on device")


def differs(_: Run, __: Any, path: Path) -> tuple[float, int, int | None]:
    """Makes a file that gives no numbers."""
    path.write_bytes(b"wrong")
    return float("inf"), 32, None


@pytest.mark.parametrize(
    ("make", "stopping", "code", "word"),
    [
        (dies, False, "not_exported", "exit status -9"),
        (hangs, False, "not_exported", "took more than"),
        (hangs, True, "not_exported", "had to stop"),
        (fills_the_disk, False, "not_exported", "No space left"),
        (differs, False, "export_differs", "by inf"),
    ],
)
def test_what_goes_wrong_in_an_export_is_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any], stopping: bool, code: str, word: str
):
    """Of each that was asked for, with its place; nothing is published, and nothing raised."""
    monkeypatch.setattr(worker.exporting, "EXPORT_SECONDS", 0.5 if make is hangs and not stopping else 60)
    monkeypatch.setattr(worker.exporting, "STOP_SECONDS", 0.3)
    monkeypatch.setattr(worker.exporting, "POLL_SECONDS", 0.05)
    (tmp_path / "artifacts").mkdir()
    told: list[Any] = []
    began = time.monotonic()

    found = export_each(run, tmp_path / "artifacts", tell=told.append, stopping=lambda: stopping, make=make)

    assert found == {}
    assert [(fact.code, fact.pointer, word in fact.detail) for fact in told if isinstance(fact, Warned)] == [
        (code, "/export/0", True),
        (code, "/export/1", True),
    ]
    assert list((tmp_path / "artifacts").iterdir()) == []
    assert not stopping or time.monotonic() - began < 5 * worker.exporting.STOP_SECONDS  # both share it


def test_a_long_export_is_heard_of(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Else it would be taken for a stall, and the finished training for a lost one."""
    monkeypatch.setattr(worker.exporting, "EXPORT_SECONDS", 2)
    monkeypatch.setattr(worker.exporting, "POLL_SECONDS", 0.05)
    (tmp_path / "artifacts").mkdir()
    told: list[Any] = []

    export_each(run, tmp_path / "artifacts", tell=told.append, stopping=lambda: False, make=hangs)

    assert Exporting(file="model.pt2") in told
    assert from_line(to_line(told[0])) == told[0]


def test_what_only_training_needs_is_let_go_before(run: Run, tmp_path: Path):
    """The optimizer's state, gradients and the copy of the best weights: an export needs their memory."""
    run.position.best_weights = dict(run.model.state_dict())
    run.model(next(iter(run.model.parameters())).new_zeros(1, 1, 8, 8)).sum().backward()
    run.optimizer.step()
    (tmp_path / "artifacts").mkdir()

    export_each(run, tmp_path / "artifacts", tell=lambda _: None, stopping=lambda: False, make=fills_the_disk)

    assert run.position.best_weights is None
    assert not run.optimizer.state
    assert all(parameter.grad is None for parameter in run.model.parameters())

"""Snapshots on their way to files, written by a process that is stopped and let go again: training waits for nothing, the newest is never lost."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from worker.checkpoints import CheckpointWriter, WriterLost
from worker.training.checkpoint import Snapshot
from worker.training.facts import CheckpointWritten


def taken(step: int, *, best: int | None = None) -> Snapshot:
    """A snapshot whose every number is its step."""
    best_weights = None if best is None else {"w": torch.full((1000,), float(best))}
    state = {"optimizer": {"momentum": torch.full((1000,), float(step))}}
    return Snapshot(
        epoch=step,
        step=step,
        weights={"w": torch.full((1000,), float(step))},
        average=None,
        best_weights=best_weights,
        state=state,
        hardware={},
        plan={},
    )


def numbers(fact: CheckpointWritten) -> set[float]:
    """Every number in a checkpoint's weights and state."""
    folder = Path(fact.directory)
    state = torch.load(folder / "state.pt", weights_only=True)
    return {*load_file(folder / "model.safetensors")["w"].tolist(), *state["optimizer"]["momentum"].tolist()}


@pytest.fixture
def told() -> queue.Queue[CheckpointWritten]:
    return queue.Queue()


@pytest.fixture
def writer(tmp_path: Path, told: queue.Queue[CheckpointWritten]):
    with CheckpointWriter(tmp_path / "checkpoints", tell=told.put) as running:
        yield running


@pytest.fixture
def disk(writer: CheckpointWriter):
    """SIGSTOP makes a disk that takes nothing, SIGCONT one that is well again."""
    pid = writer.start()

    def send(number: signal.Signals) -> None:
        os.kill(pid, number)

    yield send
    send(signal.SIGCONT)


def test_what_training_changes_afterwards_is_not_in_it(writer: CheckpointWriter, told: queue.Queue[CheckpointWritten]):
    """A snapshot is a copy."""
    first = taken(1)

    writer.save(first)
    first.weights["w"].zero_()
    first.state["optimizer"]["momentum"].zero_()
    writer.finish()

    assert numbers(told.get_nowait()) == {1.0}


def test_while_the_disk_is_slow_the_newest_overtakes(
    writer: CheckpointWriter, told: queue.Queue[CheckpointWritten], disk: Callable[[signal.Signals], None]
):
    """Saving waits for nothing. Written are the one that was begun and the newest, each whole; the best weights are in it, though their epoch's own went."""
    disk(signal.SIGSTOP)
    for step in range(1, 9):
        writer.save(taken(step, best=min(step, 5)))
    disk(signal.SIGCONT)
    writer.finish()

    first, last = told.get_nowait(), told.get_nowait()
    assert (first.step, last.step, told.empty()) == (1, 8, True)
    assert (numbers(first), numbers(last)) == ({1.0}, {8.0})
    assert set(load_file(Path(last.directory) / "best.safetensors")["w"].tolist()) == {5.0}


def test_the_newest_of_those_that_come_too_soon_is_written_at_the_end(tmp_path: Path, told: queue.Queue[CheckpointWritten]):
    """The first is written at once; after it none, until the time has come or training ends."""
    with CheckpointWriter(tmp_path / "checkpoints", tell=told.put, apart_seconds=3600) as writer:
        for step in range(1, 9):
            writer.save(taken(step))
        first = told.get(timeout=10)
        writer.save(taken(9))
        writer.finish()

    assert (first.step, told.get_nowait().step, told.empty()) == (1, 9, True)


def test_a_rest_ends_by_itself(tmp_path: Path, told: queue.Queue[CheckpointWritten]):
    """Nobody has to save again for it."""
    with CheckpointWriter(tmp_path / "checkpoints", tell=told.put, apart_seconds=0.2) as writer:
        writer.save(taken(1))
        assert told.get(timeout=10).step == 1
        writer.save(taken(2))
        assert told.get(timeout=10).step == 2


def test_a_stop_right_after_a_checkpoint_writes_no_second(writer: CheckpointWriter, told: queue.Queue[CheckpointWritten]):
    """Both are of the same step."""
    writer.save(taken(3))
    writer.save(taken(3))
    writer.finish()

    assert told.get_nowait().step == 3
    assert told.empty()


def test_snapshots_may_grow(writer: CheckpointWriter, told: queue.Queue[CheckpointWritten]):
    """An optimizer has no state before its first step."""
    small = Snapshot(
        epoch=1, step=1, weights={"w": torch.ones(1000)}, average=None, best_weights=None, state={"optimizer": {}}, hardware={}, plan={}
    )

    writer.save(small)
    for step in range(2, 6):
        writer.save(taken(step))
        writer.finish()

    written = [told.get_nowait() for _ in range(told.qsize())]
    assert [each.step for each in written][-4:] == [2, 3, 4, 5]
    assert [numbers(each) for each in written[-4:]] == [{2.0}, {3.0}, {4.0}, {5.0}]


def test_a_disk_that_takes_no_files_is_an_oserror(tmp_path: Path):
    """At the next save, and at the end."""
    (tmp_path / "checkpoints").write_text("a file where the folder should be")

    leaving = pytest.raises(NotADirectoryError)
    with leaving, CheckpointWriter(tmp_path / "checkpoints", tell=lambda _: None) as writer:
        writer.save(taken(1))
        with pytest.raises(NotADirectoryError):
            writer.finish()
        with pytest.raises(NotADirectoryError):
            writer.save(taken(2))


def test_a_writer_that_dies_is_told(tmp_path: Path):
    """Whoever waits for what it had in hand hears so."""
    leaving = pytest.raises(WriterLost)
    with leaving, CheckpointWriter(tmp_path / "checkpoints", tell=lambda _: None) as writer:
        pid = writer.start()
        os.kill(pid, signal.SIGSTOP)
        writer.save(taken(1))
        os.kill(pid, signal.SIGKILL)

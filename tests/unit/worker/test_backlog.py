"""Checkpoints on their way to a storage that answers when the test says so: who waits, who is overtaken, and that the newest never is."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.adapters.memory.others import MemoryArtifacts
from service.jobs.errors import Fenced, StorageUnavailable, StoreUnavailable
from service.jobs.job import CheckpointPointer, Job
from service.jobs.ports import Claim
from service.jobs.state import JobState
from worker.backlog import Backlog
from worker.holding import Held
from worker.training.facts import CheckpointWritten
from worker.uploads import NotThere, Storage, StorageGivenUp, Uploader

CLAIM = Claim(job=Job(id="job_1", created_at=datetime(2026, 1, 1, tzinfo=UTC), spec={}, state=JobState.RUNNING), token=7, worker="w")


class SlowArtifacts(MemoryArtifacts):
    """Takes a file once the gate is open; `asked` says that one waits there."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.asked = threading.Event(), threading.Event()

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:
        self.asked.set()
        assert self.gate.wait(10)
        super().put_file(key, path, content_type=content_type)


class AwayArtifacts(MemoryArtifacts):
    def put_file(self, key: str, *_: object, **__: object) -> None:
        raise StorageUnavailable(key)


@dataclass
class Commits:
    """The store's CHECKPOINT: keeps the newest, answers what falls out; `faults` are raised first, one a call."""

    pointers: list[CheckpointPointer] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def checkpoint(self, claim: Claim, pointer: CheckpointPointer, *, keep: int) -> Sequence[CheckpointPointer]:
        assert claim is CLAIM
        if self.faults:
            raise self.faults.pop(0)
        self.steps.append(pointer.step)
        self.pointers = [pointer, *self.pointers]
        kept, self.pointers = self.pointers[keep:], self.pointers[:keep]
        return kept


@dataclass
class Sending:
    """A backlog with its thread, and what it told."""

    backlog: Backlog
    told: queue.Queue[CheckpointPointer | Exception]
    over: threading.Event


@contextmanager
def sending(
    artifacts: MemoryArtifacts, commits: Commits, folder: Path, *, keep: int = 2, patience_seconds: float = 10
) -> Iterator[Sending]:
    told: queue.Queue[CheckpointPointer | Exception] = queue.Queue()
    over = threading.Event()
    storage = Storage(patience_seconds=patience_seconds, abandon=over, tell=lambda _: None)
    backlog = Backlog(
        CLAIM,
        uploader=Uploader(artifacts, storage),
        attempts=commits,
        folder=folder,
        keep=keep,
        over=over,
        tell=told.put,
        held=Held(),
    )
    thread = threading.Thread(target=backlog.send_each)
    thread.start()
    try:
        yield Sending(backlog, told, over)
    finally:
        over.set()
        backlog.close()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def written(tmp_path: Path):
    """A checkpoint of a step, as a trainer leaves it."""

    def write(step: int) -> CheckpointWritten:
        folder = tmp_path / str(step)
        folder.mkdir()
        (folder / "state.pt").write_bytes(b"state")
        return CheckpointWritten(epoch=step, step=step, directory=str(folder), files=[{"path": "state.pt", "size": 5, "sha256": "0"}])

    return write


def test_each_is_committed_and_what_it_replaces_is_removed(written, tmp_path: Path):
    """In the order they were written, with nothing left on this disk."""
    artifacts, commits = MemoryArtifacts(), Commits()

    with sending(artifacts, commits, tmp_path, keep=1) as sent:
        for step in (1, 2, 3):
            sent.backlog.add(written(step))
            assert sent.told.get(timeout=10).step == step
        sent.backlog.finish()

    assert commits.steps == [1, 2, 3]
    assert {stored.key.split("/")[-2] for stored in artifacts.list("projects/")} == {"3"}
    assert list(tmp_path.iterdir()) == []


def test_while_storage_is_slow_the_newest_overtake(written, tmp_path: Path):
    """Adding waits for nothing; of those that wait as many are left as would be kept, the newest among them, and those are all committed."""
    artifacts, commits = SlowArtifacts(), Commits()

    with sending(artifacts, commits, tmp_path, keep=2) as sent:
        sent.backlog.add(written(1))
        assert artifacts.asked.wait(10)
        for step in range(2, 9):
            sent.backlog.add(written(step))
        waiting = sorted(folder.name for folder in tmp_path.iterdir())
        artifacts.gate.set()
        sent.backlog.finish()

    assert waiting == ["1", "7", "8"]
    assert commits.steps == [1, 7, 8]


def test_closing_leaves_what_waits_where_it_lies(written, tmp_path: Path):
    """An attempt that ends otherwise waits for no upload; its folder may be kept for a person."""
    artifacts, commits = SlowArtifacts(), Commits()

    with sending(artifacts, commits, tmp_path) as sent:
        sent.backlog.add(written(1))
        assert artifacts.asked.wait(10)
        sent.backlog.add(written(2))
        sent.backlog.close()
        artifacts.gate.set()

    assert commits.steps == [1]
    assert (tmp_path / "2" / "state.pt").exists()


def test_a_store_that_is_away_is_asked_again(written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The checkpoint is in storage already: all that is missing is the pointer."""
    monkeypatch.setattr("worker.backlog.RETRY_SECONDS", 0.01)
    commits = Commits(faults=[StoreUnavailable("away"), StoreUnavailable("away")])

    with sending(MemoryArtifacts(), commits, tmp_path) as sent:
        sent.backlog.add(written(1))
        sent.backlog.finish()

    assert commits.steps == [1]


@pytest.mark.parametrize("fault", [Fenced("job_1", token=7), StorageGivenUp("away")], ids=["fenced", "given up"])
def test_why_sending_had_to_stop_is_told(written, tmp_path: Path, fault: Exception):
    """And nothing more is sent, though it was added."""
    commits = Commits(faults=[fault])

    with sending(MemoryArtifacts(), commits, tmp_path) as sent:
        sent.backlog.add(written(1))
        assert sent.told.get(timeout=10) is fault
        sent.backlog.add(written(2))
        sent.backlog.finish()

    assert commits.steps == []


def test_storage_that_stays_away_ends_the_wait(written, tmp_path: Path):
    """After the patience."""
    with sending(AwayArtifacts(), Commits(), tmp_path, patience_seconds=0) as sent:
        sent.backlog.add(written(1))
        sent.backlog.finish()

        assert isinstance(sent.told.get_nowait(), StorageGivenUp)


@pytest.mark.parametrize("directory", ["/etc", "..", "checkpoints/../../theirs", "."])
def test_a_checkpoint_elsewhere_is_neither_taken_nor_removed(directory: str, tmp_path: Path):
    """Custom code may tell of what it likes: the worker's secrets, another attempt's folder."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        folder.mkdir()
        (folder / "state.pt").write_bytes(b"secret")
    told = CheckpointWritten(epoch=1, step=1, directory=str(mine / directory), files=[{"path": "state.pt", "size": 6, "sha256": "0"}])
    artifacts = MemoryArtifacts()

    with sending(artifacts, Commits(), mine) as sent:
        with pytest.raises(NotThere):
            sent.backlog.add(told)
        sent.backlog.finish()

    assert list(artifacts.list("projects/")) == []
    assert (theirs / "state.pt").exists()


@pytest.mark.parametrize("what", ["folder", "file", "pipe", "nothing"])
def test_what_was_put_in_a_checkpoints_place_ends_the_attempt(what: str, tmp_path: Path):
    """A link to another's files, a pipe that nobody writes to, or nothing at all: told as such, with nothing of the other's uploaded or removed."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs / "1"):
        folder.mkdir(parents=True)
    secret = theirs / "1" / "state.pt"
    secret.write_bytes(b"secret")
    if what == "folder":
        (mine / "checkpoints").symlink_to(theirs)
    elif what != "nothing":
        (mine / "checkpoints" / "1").mkdir(parents=True)
        place = mine / "checkpoints" / "1" / "state.pt"
        place.symlink_to(secret) if what == "file" else os.mkfifo(place)
    told = CheckpointWritten(
        epoch=1, step=1, directory=str(mine / "checkpoints" / "1"), files=[{"path": "state.pt", "size": 6, "sha256": "0"}]
    )
    artifacts = MemoryArtifacts()

    with sending(artifacts, Commits(), mine) as sent:
        sent.backlog.add(told)
        assert isinstance(sent.told.get(timeout=10), NotThere)
        sent.backlog.finish()

    assert list(artifacts.list("projects/")) == []
    assert secret.read_bytes() == b"secret"


def test_what_is_overtaken_takes_nothing_along_that_a_link_leads_to(written, tmp_path: Path):
    """The folder above was exchanged for a link: what it leads to stays."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs / "2"):
        folder.mkdir(parents=True)
    (theirs / "2" / "state.pt").write_bytes(b"secret")
    (mine / "checkpoints").symlink_to(theirs)
    artifacts = SlowArtifacts()
    files = [{"path": "state.pt", "size": 6, "sha256": "0"}]

    with sending(artifacts, Commits(), tmp_path, keep=1) as sent:
        sent.backlog.add(written(1))
        assert artifacts.asked.wait(10)
        for step in (2, 3):
            sent.backlog.add(CheckpointWritten(epoch=step, step=step, directory=str(mine / "checkpoints" / str(step)), files=files))
        artifacts.gate.set()
        sent.backlog.close()

    assert (theirs / "2" / "state.pt").read_bytes() == b"secret"

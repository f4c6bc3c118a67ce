"""Checkpoints of one attempt on their way from this disk to storage: uploaded, committed, and what they replace removed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from service.jobs.errors import Fenced, StoreUnavailable
from service.jobs.job import CheckpointPointer
from service.jobs.ports import AttemptStore, Claim
from service.killpoints import KillPoint, passing
from worker.holding import Held
from worker.leftovers import remove_files
from worker.training.facts import CheckpointWritten
from worker.uploads import NotThere, StorageGivenUp, Uploader

RETRY_SECONDS = 1.0


class Backlog:
    """Sends what is added, oldest first, in the thread that runs `send_each`.

    Where storage is slow or away, no more wait than `keep`, which is as many as would be kept in the end: of those that wait the oldest goes, and
    never the newest. `tell` hears of each commit, and why sending had to stop (Fenced, StorageGivenUp, NotThere). Checkpoints lie in `folder`.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        uploader: Uploader,
        attempts: AttemptStore,
        folder: Path,
        keep: int,
        over: threading.Event,
        tell: Callable[[CheckpointPointer | Exception], None],
        held: Held,
    ) -> None:
        self._claim, self._uploader, self._attempts, self._keep, self._over, self._tell = claim, uploader, attempts, keep, over, tell
        self._folder, self._held = folder, held
        self._waiting: deque[CheckpointWritten] = deque()
        self._changed = threading.Condition()
        self._closed, self._done = False, threading.Event()

    def add(self, written: CheckpointWritten) -> None:
        """One more to send. What it overtakes leaves this disk. Raises NotThere where it names a place outside of the attempt's folder."""
        directory = Path(written.directory)
        if ".." in directory.parts or directory == self._folder or not directory.is_relative_to(self._folder):
            raise NotThere("The trainer told of a checkpoint that is not in its folder.")
        with self._changed:
            self._waiting.append(written)
            self._held.add(written.directory)
            overtaken = [self._waiting.popleft() for _ in range(len(self._waiting) - self._keep)]
            self._changed.notify()
        for each in overtaken:
            self._held.drop(each.directory)
            remove_files(Path(each.directory), [file["path"] for file in each.files], inside=self._folder)

    def finish(self) -> None:
        """Wait until everything that was added is committed, or sending had to stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._done.wait()

    def close(self) -> None:
        """Leave what still waits where it lies, and wait for nothing."""
        with self._changed:
            for each in self._waiting:
                self._held.drop(each.directory)
            self._waiting.clear()
            self._closed = True
            self._changed.notify()

    def send_each(self) -> None:
        """Until `finish` or `close`."""
        try:
            while (written := self._next()) is not None:
                try:
                    self._send(written)
                finally:
                    self._held.drop(written.directory)
        except (Fenced, StorageGivenUp, NotThere) as error:
            self._tell(error)
        finally:
            self._done.set()

    def _next(self) -> CheckpointWritten | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None

    def _send(self, written: CheckpointWritten) -> None:
        passing(KillPoint.CHECKPOINT_TOLD)
        pointer = self._uploader.checkpoint(self._claim, written, inside=self._folder)
        passing(KillPoint.CHECKPOINT_MANIFEST_PUT)
        dropped = self._commit(pointer)
        passing(KillPoint.CHECKPOINT_COMMITTED)
        self._tell(pointer)
        if dropped:
            passing(KillPoint.BEFORE_DROP)
            self._uploader.drop(dropped)

    def _commit(self, pointer: CheckpointPointer) -> Sequence[CheckpointPointer]:
        while True:
            try:
                return self._attempts.checkpoint(self._claim, pointer, keep=self._keep)
            except StoreUnavailable as error:
                if self._over.wait(RETRY_SECONDS):
                    raise StorageGivenUp("The attempt ended.") from error

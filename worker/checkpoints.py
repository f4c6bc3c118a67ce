"""Snapshots become files in a process of their own: neither the interpreter's lock nor a slow disk is training's business."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, Self

import torch

from service.killpoints import KillPoint, passing
from worker.dying import die_with_parent, let_go_of_all_but
from worker.training.buffer import Buffer
from worker.training.checkpoint import Snapshot, write
from worker.training.facts import CheckpointFile, CheckpointWritten, Fact

NICENESS = 10
"""Training goes first where both want a core; with less than that a busy machine would leave a stopped job's last checkpoint waiting."""
APART_SECONDS = 1.0
"""From the beginning of one write to that of the next: a checkpoint costs an upload of five files, and an epoch may take milliseconds."""


class WriterLost(Exception):
    """The process that writes checkpoints has died."""


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A snapshot in its buffer."""

    buffer: int
    fields: dict[str, Any]


class CheckpointWriter:
    """Has snapshots written, and tells of each. Two buffers: one is written while the next is taken.

    Training never waits for it. Where writing is slower than training, the newest snapshot takes the place of the one that waits; the newest of
    all is always written, and `finish` waits for it. So a stop's checkpoint and the best weights, which every later snapshot holds, are never lost.
    The same goes for snapshots that come less than `apart_seconds` after the last one that is written.
    """

    def __init__(self, folder: Path, *, tell: Callable[[Fact], None], apart_seconds: float = APART_SECONDS) -> None:
        self._folder, self._tell, self._apart = folder, tell, apart_seconds
        self._buffers: list[Buffer] = []
        self._spare = [0, 1]
        self._waiting: _Held | None = None
        self._writing: _Held | None = None
        self._began = 0.0
        self._is_resting = self._is_hurried = False
        self._newest: int | None = None
        self._fault: OSError | WriterLost | None = None
        self._changed = threading.Condition()
        self._process: ForkProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        try:
            self.finish()
        finally:
            with suppress(BrokenPipeError):
                self._channel.send(None)
            self._listener.join()
            self._process.join()
            self._channel.close()
            for buffer in self._buffers:
                buffer.close()

    def start(self) -> int:
        """Fork the process; its pid. The first `save` does it where nobody did.

        Before training it costs 7 ms; later every page that training has written so far would have to be copied again, when it is written next.
        """
        self._buffers = [Buffer(), Buffer()]
        fork = get_context("fork")
        self._channel, theirs = fork.Pipe()
        self._process = fork.Process(target=_write_each, args=(theirs, self._buffers, self._folder), name="checkpoints", daemon=True)
        self._process.start()
        theirs.close()
        self._listener = threading.Thread(target=self._listen, name="checkpoints", daemon=True)
        self._listener.start()
        return int(self._process.pid or 0)

    def save(self, taken: Snapshot) -> None:
        """Copy it, to be written unless a newer one overtakes it. Raises what kept an earlier one from being written."""
        if taken.step == self._newest:
            return  # a stop right after an epoch's checkpoint asks for the same step twice
        if self._process is None:
            self.start()
        with self._changed:
            self._raise_fault()
            overtaken, self._waiting = self._waiting, None
            buffer = self._spare.pop() if overtaken is None else overtaken.buffer
        fields = self._buffers[buffer].hold(vars(taken))
        with self._changed:
            self._waiting = _Held(buffer=buffer, fields=fields)
            self._newest = taken.step
            if self._writing is None and not self._is_resting:
                self._write_waiting()

    def finish(self) -> None:
        """Wait until the newest snapshot is written and told, without a rest before it. Raises what kept it from that."""
        with self._changed:
            self._is_hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._fault is not None or (self._waiting is None and self._writing is None))
            self._raise_fault()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _write_waiting(self) -> None:
        self._writing, self._waiting = self._waiting, None
        if self._writing is not None:
            self._began = time.monotonic()
            with suppress(BrokenPipeError):  # `_listen` says so
                self._channel.send(self._writing)

    def _listen(self) -> None:
        while True:
            try:
                answer = self._channel.recv()
            except (EOFError, ConnectionResetError):
                answer = WriterLost("The process that writes checkpoints was lost.")
            if answer is None:
                return
            with self._changed:
                written = self._writing
            if written is not None and isinstance(answer, list):
                self._told(written, answer)
            with self._changed:
                if isinstance(answer, OSError | WriterLost):
                    self._fault = answer
                elif written is not None:
                    self._spare.append(written.buffer)
                    self._writing = None
                    self._rest()
                    self._write_waiting()
                self._changed.notify_all()
            if isinstance(answer, WriterLost):
                return

    def _rest(self) -> None:
        """Until the next write may begin, or `finish` wants it to."""
        self._is_resting = True
        self._changed.wait_for(lambda: self._is_hurried, self._began + self._apart - time.monotonic())
        self._is_resting = False

    def _told(self, written: _Held, files: list[CheckpointFile]) -> None:
        passing(KillPoint.CHECKPOINT_WRITTEN)
        epoch, step = written.fields["epoch"], written.fields["step"]
        with suppress(BrokenPipeError):
            self._tell(CheckpointWritten(epoch=epoch, step=step, directory=str(self._folder / str(step)), files=files))


def _write_each(channel: Connection, buffers: list[Buffer], folder: Path) -> None:
    """The process: write what is named, answer its files, or the OSError that kept them from being written; until None comes."""
    let_go_of_all_but(channel.fileno(), *(buffer.descriptor() for buffer in buffers))
    die_with_parent()
    os.nice(NICENESS)
    torch.set_num_threads(1)  # a pool of threads that was forked would never answer
    while (held := channel.recv()) is not None:
        try:
            taken = Snapshot(**buffers[held.buffer].read(held.fields))
            channel.send(write(taken, folder / str(taken.step)))
        except OSError as error:
            channel.send(error)
    channel.send(None)

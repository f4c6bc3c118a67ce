"""Files of this process on the way in: uploads until they are in storage. A process that dies leaves its folder to the next one that starts."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "api-"
"""Of our folders' names: what else lies there, such as a disk's lost+found, is somebody else's."""


class Spool:
    """A folder of this process alone, below one that many share. Raises OSError where it cannot be made."""

    def __init__(self, shared: Path) -> None:
        shared.mkdir(parents=True, exist_ok=True)
        for left in shared.glob(f"{PREFIX}*"):
            _remove_if_dead(left)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=shared))
        self.folder.chmod(0o711)  # who looks at an upload may be another user, and is told its name
        self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """The name of a file, which is gone after the block unless it was moved."""
        descriptor, name = tempfile.mkstemp(prefix="upload-", dir=self.folder)
        os.fchmod(descriptor, 0o644)
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, which is gone after the block with all that is in it."""
        folder = Path(tempfile.mkdtemp(prefix="look-", dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def _remove_if_dead(folder: Path) -> None:
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return  # it is being made
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(lock)

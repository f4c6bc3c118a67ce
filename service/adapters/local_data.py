"""The LocalData port: data in the operator's folder, looked at once for each state that it is in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Slow
from pathlib import Path

from service.datasets.ports import Inspector, Spool
from service.jobs.errors import LocalDataMissing, LookedAt
from service.spec.catalog import suggest
from service.spec.content import Inspected

WAIT_SECONDS = 15.0
"""A request waits for so long while data are looked at; the next one may find them done."""
DEPTH = 2
"""Folders below the data's own whose times tell of a change: those of splits, and of classes."""
State = tuple[tuple[str, int], ...]


class LocalData:
    """`root` is TRAINYARD_DATASETS_DIR, None where the operator has none."""

    def __init__(self, root: Path | None, *, inspector: Inspector, spool: Spool) -> None:
        self._root, self._inspector, self._spool = root, inspector, spool
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[State, Future[Inspected]]] = {}
        # a contained child ends with the thread that started it: this one stays
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="local-data")

    def find(self, name: str) -> Inspected:
        """What is in a folder or file below the root, or all that is wrong with it. Raises LocalDataMissing, LookedAt, Unavailable."""
        path = self._path(name)
        state = tuple(_times(path, DEPTH))
        with self._lock:
            known = self._known.get(path)
            if known is None or known[0] != state or _failed(known[1]):
                known = self._known[path] = state, self._looking.submit(self._look, path)
        try:
            return known[1].result(WAIT_SECONDS)
        except Slow as error:
            raise LookedAt(name) from error

    def close(self) -> None:
        """Look no further."""
        self._looking.shutdown(wait=False, cancel_futures=True)

    def _look(self, path: Path) -> Inspected:
        with self._spool.scratch() as scratch:
            return self._inspector.look(path, scratch, alive=lambda: None).found

    def _path(self, name: str) -> Path:
        if self._root is None:
            raise LocalDataMissing(
                "The service has no folder of data: TRAINYARD_DATASETS_DIR is not set.", "Upload: trainyard datasets push NAME PATH."
            )
        parts = Path(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise LocalDataMissing(f"`{name}` leads out of the service's folder of data.", "Name a folder or file below it.")
        path = self._root / name
        if not path.exists():
            close = suggest(name, sorted(each.name for each in self._root.iterdir())) if self._root.is_dir() else None
            cure = f"Did you mean `{close}`? " if close else ""
            raise LocalDataMissing(
                f"There is no {name} in {self._root}.", f"{cure}Put it there, or upload it: trainyard datasets push NAME PATH."
            )
        return path


def _failed(look: Future[Inspected]) -> bool:
    return look.cancelled() or (look.done() and look.exception() is not None)


def _times(path: Path, depth: int) -> Iterator[tuple[str, int]]:
    """When a folder and those below it last gained or lost an entry, or a file was last written."""
    yield str(path), path.stat().st_mtime_ns
    if depth and path.is_dir():
        for each in sorted(path.iterdir()):
            if each.is_dir():
                yield from _times(each, depth - 1)

"""What the use cases of data sets need from the outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from service.datasets.record import DatasetVersion
from service.spec.content import Inspected


class DatasetStore(Protocol):
    """The records of uploaded data sets. Every method raises StoreUnavailable."""

    def put(self, version: DatasetVersion) -> DatasetVersion:
        """Store a new version, to be looked at; the one with the same bytes that is there already, unless it was invalid."""

    def find(self, project: str, name: str, version: str | None = None) -> DatasetVersion:
        """A version by its digest or enough of its beginning; the newest that is ready, else the newest, where None. Raises DatasetNotFound."""

    def list(self, project: str) -> Sequence[DatasetVersion]:
        """Every version of every data set, by name, the newest first of each."""

    def take(self, *, seconds: float) -> DatasetVersion | None:
        """One that is to be looked at, for so many seconds; None where there is none. Another asker gets it again afterwards."""

    def hold(self, version: DatasetVersion, *, seconds: float) -> None:
        """Still looking: for so many seconds more."""

    def settle(self, version: DatasetVersion) -> bool:
        """Store what was found. False where it was removed, or settled, meanwhile."""

    def remove(self, version: DatasetVersion) -> None:
        """From now on it is not found; its objects are removed later. Raises DatasetInUse while a job that has not ended needs it."""

    def removed(self, limit: int) -> Sequence[tuple[str, str, str]]:
        """(project, name, place) of removed or invalid ones whose objects are to go."""

    def erased(self, project: str, name: str, place: str) -> None:
        """Their objects are gone."""

    def restore(self, version: DatasetVersion) -> bool:
        """Put a record back unless one is here; False where there was nothing to do."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What looking at an upload showed, and a contact sheet of its samples where they are images (PNG)."""

    found: Inspected
    sheet: bytes | None = None


class Inspector(Protocol):
    """Looks at an upload, in a process apart: it may be hostile."""

    def look(self, upload: Path, scratch: Path, *, alive: Callable[[], None]) -> Look:
        """What is in it, or all that is wrong with it. `scratch` is an empty folder; `alive` is called now and then meanwhile. Raises Unavailable where nobody here can look."""


class Spool(Protocol):
    """Files on the way in. What the blocks made is gone after them."""

    def file(self) -> AbstractContextManager[Path]:
        """An empty file."""

    def scratch(self) -> AbstractContextManager[Path]:
        """An empty folder."""


class LocalData(Protocol):
    """Data in the operator's folder."""

    def find(self, name: str) -> Inspected:
        """What is in a folder or file of it, or all that is wrong with it. Raises LocalDataMissing, LookedAt, Unavailable."""

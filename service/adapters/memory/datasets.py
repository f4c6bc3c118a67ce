"""The twin of the records of uploaded data sets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from service.access.quota import of_dataset
from service.adapters.memory.shelf import Shelf
from service.datasets.record import DatasetState, DatasetVersion, chosen, in_order
from service.jobs.errors import DatasetInUse, DatasetNotFound

Place = tuple[str, str, str]


class MemoryDatasets:
    """The DatasetStore."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._due: dict[Place, datetime] = {}
        self._gone: dict[Place, None] = {}

    def put(self, version: DatasetVersion) -> DatasetVersion:
        """Store a new version, to be looked at; the one with the same bytes that is there already, unless it was invalid."""
        known = self._shelf.datasets.get(_place(version))
        if known is not None and known.state is not DatasetState.INVALID:
            self._shelf.charge(version.project, of_dataset(version.name, version.place), 0)
            return known
        self._shelf.charge(version.project, of_dataset(version.name, version.place), version.size)
        self._shelf.datasets[_place(version)] = version
        self._due[_place(version)] = self._shelf.now()
        return version

    def find(self, project: str, name: str, version: str | None = None) -> DatasetVersion:
        """A version by its digest or enough of its beginning; the newest that is ready, else the newest, where None. Raises DatasetNotFound."""
        return chosen([each for each in self._shelf.datasets.values() if (each.project, each.name) == (project, name)], name, version)

    def list(self, project: str) -> Sequence[DatasetVersion]:
        """Every version of every data set, by name, the newest first of each."""
        return in_order(each for each in self._shelf.datasets.values() if each.project == project)

    def take(self, *, seconds: float) -> DatasetVersion | None:
        """One that is to be looked at, for so many seconds; None where there is none."""
        now = self._shelf.now()
        place = min((place for place, due in self._due.items() if due <= now), key=self._due.__getitem__, default=None)
        if place is None:
            return None
        self._due[place] = now + timedelta(seconds=seconds)
        return self._shelf.datasets[place]

    def hold(self, version: DatasetVersion, *, seconds: float) -> None:
        """Still looking: for so many seconds more."""
        if _place(version) in self._due:
            self._due[_place(version)] = self._shelf.now() + timedelta(seconds=seconds)

    def settle(self, version: DatasetVersion) -> bool:
        """Store what was found. False where it was removed, or settled, meanwhile."""
        known = self._shelf.datasets.get(_place(version))
        if known is None or known.state is not DatasetState.VALIDATING:
            return False
        self._shelf.datasets[_place(version)] = version
        self._due.pop(_place(version), None)
        if version.state is DatasetState.INVALID:
            self._gone[_lies(version)] = None
        return True

    def remove(self, version: DatasetVersion) -> None:
        """From now on it is not found; its objects are removed later. Raises DatasetInUse, DatasetNotFound."""
        if _place(version) not in self._shelf.datasets:
            raise DatasetNotFound(version.name, version.version)
        for job in self._shelf.jobs.values():
            if not job.is_terminal and job.project == version.project and job.upload == (version.name, version.version):
                raise DatasetInUse(version.name, by=job.id)
        del self._shelf.datasets[_place(version)]
        self._due.pop(_place(version), None)
        self._gone[_lies(version)] = None

    def removed(self, limit: int) -> Sequence[Place]:
        """(project, name, place) of removed or invalid ones whose objects are to go."""
        return list(self._gone)[:limit]

    def erased(self, project: str, name: str, place: str) -> None:
        """Their objects are gone."""
        self._gone.pop((project, name, place), None)

    def restore(self, version: DatasetVersion) -> bool:
        """Put a record back unless one is here; False where there was nothing to do."""
        if _place(version) in self._shelf.datasets:
            return False
        self._shelf.datasets[_place(version)] = version
        self._shelf.charge(version.project, of_dataset(version.name, version.place), version.size)
        return True


def _place(version: DatasetVersion) -> Place:
    return version.project, version.name, version.version


def _lies(version: DatasetVersion) -> Place:
    return version.project, version.name, version.place

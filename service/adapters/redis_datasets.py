"""The records of uploaded data sets in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from service.access.quota import of_dataset
from service.adapters.redis_scripts import Scripts, our_errors
from service.datasets.record import DatasetState, DatasetVersion, chosen, in_order
from service.jobs.errors import DatasetInUse, DatasetNotFound


class RedisDatasets:
    """The DatasetStore port."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._client: redis.Redis = scripts.client

    def put(self, version: DatasetVersion) -> DatasetVersion:
        """Store a new version, to be looked at; the one with the same bytes that is there already, unless it was invalid."""
        return _read(self._scripts.call("dataset_put", *_place(version), version.model_dump_json(), *_bytes(version)))

    def find(self, project: str, name: str, version: str | None = None) -> DatasetVersion:
        """A version by its digest or enough of its beginning; the newest that is ready, else the newest, where None. Raises DatasetNotFound."""
        return chosen(self._versions(project, name), name, version)

    def list(self, project: str) -> Sequence[DatasetVersion]:
        """Every version of every data set, by name, the newest first of each."""
        with our_errors():
            names: Any = self._client.smembers(f"ty:datasets:{project}")
        return in_order(each for name in names for each in self._versions(project, name.decode()))

    def take(self, *, seconds: float) -> DatasetVersion | None:
        """One that is to be looked at, for so many seconds; None where there is none."""
        record = self._scripts.call("dataset_take", int(seconds * 1000))
        return _read(record) if record else None

    def hold(self, version: DatasetVersion, *, seconds: float) -> None:
        """Still looking: for so many seconds more."""
        self._scripts.call("dataset_hold", "/".join(_place(version)), int(seconds * 1000))

    def settle(self, version: DatasetVersion) -> bool:
        """Store what was found. False where it was removed, or settled, meanwhile."""
        ready = int(version.state is DatasetState.READY)
        return bool(self._scripts.call("dataset_settle", *_place(version), version.model_dump_json(), ready, version.place))

    def remove(self, version: DatasetVersion) -> None:
        """From now on it is not found; its objects are removed later. Raises DatasetInUse, DatasetNotFound."""
        answer = self._scripts.call("dataset_remove", *_place(version), version.place).decode()
        if answer == "gone":
            raise DatasetNotFound(version.name, version.version)
        if answer != "removed":
            raise DatasetInUse(version.name, by=answer)

    def removed(self, limit: int) -> Sequence[tuple[str, str, str]]:
        """(project, name, place) of removed or invalid ones whose objects are to go."""
        with our_errors():
            members: Any = self._client.zrange("ty:removed_datasets", 0, limit - 1)
        places = (member.decode().split("/") for member in members)
        return [(project, name, place) for project, name, place in places]

    def erased(self, project: str, name: str, place: str) -> None:
        """Their objects are gone."""
        with our_errors():
            self._client.zrem("ty:removed_datasets", f"{project}/{name}/{place}")

    def restore(self, version: DatasetVersion) -> bool:
        """Put a record back unless one is here; False where there was nothing to do."""
        return bool(self._scripts.call("dataset_restore", *_place(version), version.model_dump_json(), *_bytes(version)))

    def _versions(self, project: str, name: str) -> Sequence[DatasetVersion]:
        with our_errors():
            records: Any = self._client.hvals(f"ty:dataset:{project}:{name}")
        return [_read(record) for record in records]


def _place(version: DatasetVersion) -> tuple[str, str, str]:
    return version.project, version.name, version.version


def _bytes(version: DatasetVersion) -> tuple[str, int]:
    """Whom its bytes are counted for, and how many they are."""
    return of_dataset(version.name, version.place), version.size


def _read(record: bytes) -> DatasetVersion:
    return DatasetVersion.model_validate_json(record)

"""A backup, made beside a running service: all of storage, and what only Redis has.

Whoever writes to storage writes files first and last what names them: a manifest, a record. Whoever reads has to go the other way: first what names,
then all the rest, which was there before it. What was removed in between - a checkpoint that a newer one replaced - leaves its job torn, and that job's
folder is read again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from importlib.metadata import version
from typing import Any

from service.backups.shelf import Entry, Shelf, Snapshot
from service.datasets.ports import DatasetStore
from service.datasets.record import DatasetState, key_of
from service.jobs.errors import ArtifactNotFound, StoreUnavailable
from service.jobs.ports import ArtifactStore, Monitor, Rebuilding, Stored

AT_ONCE = 8
AGAIN = 5
"""How often a job's folder is read that changes while it is read."""
ROUNDS = 1000
"""Of a sweeper that saves: fifty records each."""
RESTORING = "restoring.json"
"""What stands in storage while a backup is put back."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is backed up."""

    artifacts: ArtifactStore
    monitor: Monitor
    rebuilding: Rebuilding
    datasets: DatasetStore
    sweep: Callable[[], None]
    """Removes objects of jobs that were deleted, and writes some of the records that storage has not."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of it. `torn` are checkpoints and results that were not whole, and are left out."""

    snapshot: Snapshot
    copied: int
    copied_bytes: int
    torn: Sequence[str]


def make(shelf: Shelf, source: Source) -> Made:
    """Make a backup. What an earlier one has is not copied again. Raises BackupFault, StorageUnavailable, StoreUnavailable."""
    with shelf.locked():
        _save(source)
        copies = _Copies(shelf, source.artifacts)
        only_redis: dict[str, Any] = {"idempotency": [astuple(key) for key in source.rebuilding.idempotency_keys()]}
        naming = copies.take(stored for stored in source.artifacts.list("") if names_others(stored.key))
        there = source.artifacts.list("")
        rest = copies.take(stored for stored in there if not names_others(stored.key) and stored.key != RESTORING)
        entries = {key: naming[key] for key in naming.keys() & {stored.key for stored in there}} | rest
        for _ in range(AGAIN):
            folders = {_job_folder(key) for key in _torn(entries, shelf)}
            if not folders:
                break
            _save(source)  # the record in storage may be older than what it names
            for folder in folders:
                _again(folder, entries, copies, source.artifacts)
        torn = sorted(_torn(entries, shelf))
        for key in torn:
            entries.pop(key, None)
        only_redis["validating"] = _validating(source.datasets, entries)
        snapshot = shelf.close(entries, version=version("trainyard"), only_redis=only_redis)
        return Made(snapshot=snapshot, copied=copies.count, copied_bytes=copies.bytes, torn=torn)


def names_others(key: str) -> bool:
    """Whether an object is written after those that it names."""
    return key.rpartition("/")[2] in ("manifest.json", "job.json", "dataset.json")


def _save(source: Source) -> None:
    """Have storage know all that Redis knew when this began."""
    began = source.monitor.standing().at
    for _ in range(ROUNDS):
        source.sweep()
        since = source.monitor.standing().unsaved_since
        if since is None or since > began:
            return
    raise StoreUnavailable("There are records that cannot be saved to storage; the log of the API says why.")


class _Copies:
    """Copies what is not here yet."""

    def __init__(self, shelf: Shelf, artifacts: ArtifactStore) -> None:
        self._shelf, self._artifacts, self._known = shelf, artifacts, shelf.known()
        self.count = self.bytes = 0

    def take(self, objects: Iterable[Stored]) -> dict[str, Entry]:
        """These as they are now, but for those that are gone by now."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            taken = pool.map(self._one, list(objects))
            return {entry.key: entry for entry in taken if entry is not None}

    def _one(self, stored: Stored) -> Entry | None:
        known = self._known.get(stored.key)
        if known is not None and (known.etag, known.size) == (stored.etag, stored.size) and self._shelf.holds(known):
            return known
        try:
            entry = self._shelf.put(stored.key, stored.etag, self._artifacts.open(stored.key))
        except ArtifactNotFound:
            return None
        self._known[stored.key] = entry
        self.count += 1
        self.bytes += entry.size
        return entry


def _again(folder: str, entries: dict[str, Entry], copies: _Copies, artifacts: ArtifactStore) -> None:
    """A job's folder as it is now, in place of what was read of it."""
    naming = copies.take(stored for stored in artifacts.list(folder) if names_others(stored.key))
    rest = copies.take(stored for stored in artifacts.list(folder) if not names_others(stored.key))
    for key in [key for key in entries if key.startswith(folder)]:
        del entries[key]
    if f"{folder}job.json" in naming:
        entries.update(naming | rest)


def _torn(entries: Mapping[str, Entry], shelf: Shelf) -> set[str]:
    """Manifests that name what is not here, and checkpoints' manifests that an unfinished job's record names and that are not here."""
    torn, wanted = set[str](), defaultdict[str, set[str]](set)
    for key, entry in entries.items():
        if key.endswith("/manifest.json"):
            prefix = key.removesuffix("manifest.json")
            if any(_differs(entries.get(prefix + file["path"]), file) for file in json.loads(shelf.read(entry))["files"]):
                torn.add(key)
        elif key.endswith("/job.json") and "/attempts/" not in key:
            job = json.loads(shelf.read(entry))
            if job["state"] not in ("succeeded", "failed", "cancelled"):
                wanted[key] = {f"{pointer['prefix']}manifest.json" for pointer in job["checkpoints"]}
    missing = {manifest for manifests in wanted.values() for manifest in manifests} - (entries.keys() - torn)
    return torn | missing


def _differs(entry: Entry | None, file: Mapping[str, Any]) -> bool:
    return entry is None or (entry.size, entry.sha256) != (file["size"], file["sha256"])


def _job_folder(key: str) -> str:
    return "/".join(key.split("/")[:4]) + "/"


def _validating(datasets: DatasetStore, entries: Mapping[str, Entry]) -> list[dict[str, Any]]:
    """Uploads that nobody has looked at yet: their records are in Redis alone."""
    projects = {parts[1] for parts in (key.split("/") for key in entries) if parts[0] == "projects"}
    found = (each for project in sorted(projects) for each in datasets.list(project))
    return [each.model_dump(mode="json") for each in found if each.state is DatasetState.VALIDATING and key_of(each, "upload") in entries]

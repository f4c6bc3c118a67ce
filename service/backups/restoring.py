"""A backup put back into an empty installation: files first, then what names them, then Redis."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from service.access.ports import Safekeeping
from service.backups.making import AT_ONCE, RESTORING, names_others
from service.backups.shelf import BackupFault, Entry, Shelf, Snapshot
from service.datasets.ports import DatasetStore
from service.datasets.record import DatasetVersion
from service.jobs.errors import ArtifactNotFound
from service.jobs.ports import ArtifactStore, IdempotencyKey, Rebuilding
from service.rebuilding import Rebuilt, rebuild


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where it is put back."""

    artifacts: ArtifactStore
    rebuilding: Rebuilding
    datasets: DatasetStore
    access: Safekeeping


@dataclass
class Restored:
    """What came of it. `damaged` are keys whose bytes are not those that were kept: they are left out."""

    snapshot: Snapshot
    rebuilt: Rebuilt
    objects: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)


def restore(shelf: Shelf, target: Target, *, name: str | None = None, force: bool = False) -> Restored:
    """Put a backup back: the newest, or the one of this name. One that was cut off goes on.

    Where something is already, only with `force`: what the backup has is then written over it, all else stays. Raises BackupFault,
    StorageUnavailable, StoreUnavailable.
    """
    snapshot = shelf.open(name)
    there = {stored.key: stored.size for stored in target.artifacts.list("")}
    goes_on = _begun(target.artifacts) == snapshot.name
    if not (force or goes_on) and (there or not target.rebuilding.is_empty()):
        raise BackupFault(
            "The installation is not empty: there are objects in storage, or jobs in Redis. Name an empty one (S3_BUCKET, REDIS_URL, --data-dir), "
            "or say --force: what the backup has is then written over what is there, and all else stays."
        )
    target.artifacts.put_bytes(RESTORING, json.dumps({"snapshot": snapshot.name}).encode())
    done = Restored(snapshot=snapshot, rebuilt=Rebuilt())
    missing = [each for each in snapshot.entries.values() if not (goes_on and not force and there.get(each.key) == each.size)]
    for wave in ([e for e in missing if not names_others(e.key)], [e for e in missing if names_others(e.key)]):
        _put(wave, shelf, target.artifacts, done)
    for record in snapshot.only_redis["validating"]:
        target.datasets.put(DatasetVersion.model_validate(record))
    done.rebuilt = rebuild(artifacts=target.artifacts, rebuilding=target.rebuilding, datasets=target.datasets, access=target.access)
    target.rebuilding.restore_idempotency_keys([IdempotencyKey(*key) for key in snapshot.only_redis["idempotency"]])
    target.artifacts.delete([RESTORING])
    return done


def damaged(shelf: Shelf, names: Iterable[str]) -> dict[str, list[str]]:
    """Keys of these backups whose bytes are not those that were kept, by backup. Reads every byte once. Raises BackupFault."""
    snapshots = [shelf.open(name) for name in names]
    distinct = {entry.sha256: entry for snapshot in snapshots for entry in snapshot.entries.values()}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sound = dict(zip(distinct, pool.map(shelf.is_sound, distinct.values()), strict=True))
    return {each.name: [key for key, entry in sorted(each.entries.items()) if not sound[entry.sha256]] for each in snapshots}


def _begun(artifacts: ArtifactStore) -> str | None:
    """Which backup is being put back there."""
    try:
        return str(json.loads(b"".join(artifacts.open(RESTORING)))["snapshot"])
    except ArtifactNotFound:
        return None


def _put(entries: Iterable[Entry], shelf: Shelf, artifacts: ArtifactStore, done: Restored) -> None:
    def one(entry: Entry) -> Entry | None:
        if not shelf.is_sound(entry):
            return None
        kind = "application/json" if names_others(entry.key) else mimetypes.guess_type(entry.key)[0]
        artifacts.put_file(entry.key, shelf.path(entry.sha256), content_type=kind or "application/octet-stream")
        return entry

    wanted = list(entries)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for asked, put in zip(wanted, pool.map(one, wanted), strict=True):
            if put is None:
                done.damaged.append(asked.key)
            else:
                done.objects += 1
                done.bytes += put.size

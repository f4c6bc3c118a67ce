"""`trainyard backup`: told by REDIS_URL and S3_ENDPOINT_URL as the service is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.adapters.memory import MemoryDoorbell
from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.backups.making import Made, Source, make
from service.backups.restoring import damaged
from service.backups.shelf import BackupFault, Shelf
from service.jobs.errors import NewerFormat, Unavailable
from service.safekeeping import save_access
from service.settings import SettingsFault, StoreSettings


def main() -> int:
    """Make a backup, or verify those that are there. Exit code 1 where it could not be made, or something is damaged."""
    parser = argparse.ArgumentParser(prog="trainyard backup")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--keep", type=int)
    arguments = parser.parse_args()
    shelf = Shelf(arguments.folder)
    try:
        if arguments.verify:
            return _verify(shelf)
        made = _made(shelf)
        gone = shelf.keep(arguments.keep) if arguments.keep else 0
    except (SettingsFault, NewerFormat, Unavailable, BackupFault, OSError) as error:
        print(f"trainyard backup: {error}", file=sys.stderr)  # noqa: T201
        return 1
    held = len(made.snapshot.entries)
    print(f"{made.snapshot.name}: {held} object(s), {made.copied} of them new ({made.copied_bytes:,} bytes).")  # noqa: T201
    for key in made.torn:
        print(f"trainyard backup: {key} was not whole in storage, and is left out.", file=sys.stderr)  # noqa: T201
    if gone:
        print(f"{gone} older backup(s) removed.", file=sys.stderr)  # noqa: T201
    return 0


def _made(shelf: Shelf) -> Made:
    settings = StoreSettings.read()
    stores = connect(settings.redis_url, lease_seconds=settings.lease_seconds, sweep_seconds=settings.sweep_seconds)
    stores.admit()
    artifacts = S3Artifacts(settings)
    sweeper = stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell())  # it rings for nobody

    def sweep() -> None:
        save_access(store=stores.access, artifacts=artifacts)
        sweeper.dispose()
        sweeper.save()

    source = Source(artifacts=artifacts, monitor=stores.monitor, rebuilding=stores.rebuilding, datasets=stores.datasets, sweep=sweep)
    return make(shelf, source)


def _verify(shelf: Shelf) -> int:
    names = shelf.names()
    if not names:
        raise BackupFault(f"{shelf.folder} has no backup. Make one with `trainyard backup {shelf.folder}`.")
    found = damaged(shelf, names)
    for name, keys in found.items():
        for key in keys:
            print(f"trainyard backup: {name}: {key} is damaged: its bytes are not those that were kept.", file=sys.stderr)  # noqa: T201
    bad = sum(bool(keys) for keys in found.values())
    print(f"{len(names)} backup(s) read, {bad} of them damaged.")  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

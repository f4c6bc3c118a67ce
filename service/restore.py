"""`trainyard restore`: told by REDIS_URL and S3_ENDPOINT_URL as the service is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.backups.restoring import Restored, Target, restore
from service.backups.shelf import BackupFault, Shelf
from service.jobs.errors import NewerFormat, Unavailable
from service.settings import SettingsFault, StoreSettings


def main() -> int:
    """Put a backup back. Exit code 1 where it could not be, or not all of it."""
    parser = argparse.ArgumentParser(prog="trainyard restore")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--snapshot")
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    try:
        done = _restored(Shelf(arguments.folder), arguments)
    except (SettingsFault, NewerFormat, Unavailable, BackupFault, OSError) as error:
        print(f"trainyard restore: {error}", file=sys.stderr)  # noqa: T201
        return 1
    rebuilt = done.rebuilt
    print(  # noqa: T201
        f"{done.snapshot.name}: {done.objects} object(s) put back ({done.bytes:,} bytes), "
        f"{rebuilt.restored} record(s) restored, {rebuilt.known} were here already."
    )
    for key in done.damaged:
        print(f"trainyard restore: {key} is damaged in the backup, and is left out.", file=sys.stderr)  # noqa: T201
    for key in rebuilt.unreadable:
        print(f"trainyard restore: {key} cannot be read; that job is not restored.", file=sys.stderr)  # noqa: T201
    return 1 if done.damaged or rebuilt.unreadable else 0


def _restored(shelf: Shelf, arguments: argparse.Namespace) -> Restored:
    settings = StoreSettings.read()
    stores = connect(settings.redis_url, lease_seconds=settings.lease_seconds, sweep_seconds=settings.sweep_seconds)
    stores.admit()
    artifacts = S3Artifacts(settings)
    artifacts.ensure_bucket()
    target = Target(artifacts=artifacts, rebuilding=stores.rebuilding, datasets=stores.datasets, access=stores.access)
    return restore(shelf, target, name=arguments.snapshot, force=arguments.force)


if __name__ == "__main__":
    sys.exit(main())

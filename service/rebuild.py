"""`trainyard rebuild`: puts the records back that storage kept. Reads REDIS_URL and the S3 settings, as every process does."""

from __future__ import annotations

import sys

from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.jobs.errors import NewerFormat, Unavailable
from service.rebuilding import rebuild
from service.settings import SettingsFault, StoreSettings


def main() -> int:
    """Rebuild, and say what was done. Exit code 1 where a part is missing, or a record could not be read."""
    try:
        settings = StoreSettings.read()
        stores = connect(settings.redis_url, lease_seconds=settings.lease_seconds, sweep_seconds=settings.sweep_seconds)
        stores.admit()
        found = rebuild(artifacts=S3Artifacts(settings), rebuilding=stores.rebuilding, datasets=stores.datasets, access=stores.access)
    except (SettingsFault, NewerFormat, Unavailable) as error:
        print(f"trainyard rebuild: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{found.restored} job(s) restored, {found.known} were here already.")  # noqa: T201
    if found.keys:
        print(f"{found.keys} key(s) and project(s) restored.")  # noqa: T201
    for key in found.unreadable:
        print(f"trainyard rebuild: {key} cannot be read; that job is not restored.", file=sys.stderr)  # noqa: T201
    return 1 if found.unreadable else 0


if __name__ == "__main__":
    sys.exit(main())

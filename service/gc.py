"""`trainyard gc`: remove from storage what no record names, and count what records do name for quotas, told by REDIS_URL and S3_ENDPOINT_URL as the service is."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from service import tidying
from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.jobs.errors import NewerFormat, Unavailable
from service.settings import SettingsFault, StoreSettings
from service.tidying import Usage


def main(*, dry_run: bool) -> int:
    """Look, say what was found, and remove it unless asked not to. Exit code 1 where a part is missing, or records have to be rebuilt first."""
    try:
        settings = StoreSettings.read()
        stores = connect(settings.redis_url, lease_seconds=settings.lease_seconds, sweep_seconds=settings.sweep_seconds)
        stores.admit()
        artifacts = S3Artifacts(settings)
        found = tidying.look(artifacts=artifacts, jobs=stores.jobs, datasets=stores.datasets, now=datetime.now(tz=UTC))
        if not dry_run:
            tidying.remove(found, artifacts=artifacts)
            tidying.count(found, accounts=stores.accounts)
    except (SettingsFault, NewerFormat, Unavailable) as error:
        print(f"trainyard gc: {error}", file=sys.stderr)  # noqa: T201
        return 1
    for folder, there in sorted(found.unnamed.items()):
        print(f"{folder}  {Usage.of(there).bytes:,} bytes")  # noqa: T201
    whole = Usage.of(stored for there in found.unnamed.values() for stored in there)
    print(f"{whole.objects} object(s), {whole.bytes:,} bytes {'would go' if dry_run else 'removed'}.", file=sys.stderr)  # noqa: T201
    if found.only_stored:
        detail = f"{len(found.only_stored)} job(s) have a record in storage alone, and stay: run `trainyard rebuild`."
        print(f"trainyard gc: {detail}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(dry_run="--dry-run" in sys.argv[1:]))

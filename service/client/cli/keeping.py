"""`trainyard backup`, `restore`, `rebuild`, `gc`: what an operator does to the stores. Each is a process that is told where they are as the service is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from service import local
from service.client.cli.app import Panel, app, command

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="The folder of `trainyard up`, whether that runs or not; otherwise REDIS_URL and S3_ENDPOINT_URL say where (see README).",
        show_default=False,
    ),
]


@command(app, "trainyard backup /mnt/backups", "trainyard backup backups --data-dir trainyard-data --keep 7", panel=Panel.HERE, shared=())
def backup(
    folder: Annotated[Path, typer.Argument(help="A folder of backups; what an earlier one has is not copied again.", show_default=False)],
    verify: Annotated[bool, typer.Option("--verify", help="Make none: read all that are there, and compare every checksum.")] = False,
    keep: Annotated[int | None, typer.Option(min=1, help="Remove all but so many, the newest, afterwards.", show_default="all")] = None,
    data_dir: DataDir = None,
) -> None:
    """Copy all that must not be lost into a folder, beside the running service. Cut off, it goes on when asked again."""
    options = [*(["--verify"] if verify else []), *([] if keep is None else ["--keep", str(keep)])]
    _run("backup", [str(folder.resolve()), *options], None if verify else data_dir)


@command(app, "trainyard restore /mnt/backups", "trainyard restore backups --data-dir new-data", panel=Panel.HERE, shared=())
def restore(
    folder: Annotated[Path, typer.Argument(help="A folder of backups.", show_default=False)],
    snapshot: Annotated[str | None, typer.Option(help="Which one, as `backup` named it.", show_default="the newest")] = None,
    force: Annotated[bool, typer.Option("--force", help="Though something is there: write what the backup has over it.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Put a backup back into an empty installation. Jobs that had not ended run again from their newest checkpoint."""
    options = [*(["--force"] if force else []), *([] if snapshot is None else ["--snapshot", snapshot])]
    _run("restore", [str(folder.resolve()), *options], data_dir)


@command(app, "trainyard rebuild", "trainyard rebuild --data-dir trainyard-data", panel=Panel.HERE, shared=())
def rebuild(data_dir: DataDir = None) -> None:
    """Put every record back that storage kept, after Redis was lost."""
    _run("rebuild", [], data_dir)


@command(app, "trainyard gc --dry-run", "trainyard gc --data-dir trainyard-data", panel=Panel.HERE, shared=())
def gc(dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False, data_dir: DataDir = None) -> None:
    """Remove from storage what no record names."""
    _run("gc", ["--dry-run"] if dry_run else [], data_dir)


def _run(module: str, arguments: list[str], data_dir: Path | None) -> None:
    """Do it, and end as it ended. Raises CannotStart."""
    command_line = [sys.executable, "-m", f"service.{module}", *arguments]
    if data_dir is None:
        os.execv(sys.executable, command_line)
    with local.stores_of(data_dir.resolve()) as environment:
        status = subprocess.run(command_line, env=dict(environment), check=False).returncode
    raise typer.Exit(status)

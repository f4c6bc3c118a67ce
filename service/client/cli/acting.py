"""`trainyard cancel`, `pause`, `resume`, `retry`, `rm`: what may be asked of jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from service.client.cli.app import JobId, JobIds, Panel, app, command, hint
from service.client.cli.printing import json_line, show_json
from service.client.cli.session import connect, said
from service.client.sdk import Client


@command(app, "trainyard cancel job_019...", "trainyard ls -q --state queued | xargs trainyard cancel", panel=Panel.ACT)
def cancel(job_ids: JobIds) -> None:
    """Stop jobs."""
    _asked(lambda client, job_id: client.cancel(job_id), job_ids, until="cancelled", meanwhile=", stopping")
    hint(("Again from its last checkpoint", f"trainyard retry {job_ids[0]}"))


@command(app, "trainyard pause job_019...", panel=Panel.ACT)
def pause(job_ids: JobIds) -> None:
    """Set jobs aside; running ones write a checkpoint first and free their workers."""
    _asked(lambda client, job_id: client.pause(job_id), job_ids, until="paused", meanwhile=", pausing")
    hint(("Go on", f"trainyard resume {' '.join(job_ids)}"))


@command(app, "trainyard resume job_019...", panel=Panel.ACT)
def resume(job_ids: JobIds) -> None:
    """Let paused jobs go on where they were."""
    _asked(lambda client, job_id: client.resume(job_id), job_ids, until="queued")
    hint(("Watch it", f"trainyard watch {job_ids[0]}"))


@command(app, "trainyard retry job_019...", panel=Panel.ACT)
def retry(job_id: JobId) -> None:
    """A new job from a failed or cancelled one, from its last checkpoint."""
    with connect() as client:
        job = client.retry(job_id)
    show_json(job) if said.as_json else print(f"{job['id']} {job['state']}, a retry of {job['retry_of']}")
    hint(("Watch it", f"trainyard watch {job['id']}"))


@command(app, "trainyard rm job_019...", "trainyard ls -q --state failed | xargs trainyard rm", panel=Panel.ACT)
def rm(job_ids: JobIds, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove ended jobs with everything that they left. Asks first where stdin is a terminal."""
    confirm(f"Remove {job_ids[0] if len(job_ids) == 1 else f'{len(job_ids)} jobs'} with all files?", yes=yes)
    with connect() as client:
        for job_id in job_ids:
            client.delete(job_id)
            json_line({"id": job_id, "removed": True}) if said.as_json else print(f"{job_id} removed")


def confirm(question: str, *, yes: bool) -> None:
    """Ask whoever sits at a terminal; a program has made up its mind. Exits 1 on no."""
    if not yes and sys.stdin.isatty() and not typer.confirm(question, err=True):
        hint("Nothing was done.")
        raise typer.Exit(1)


def _asked(ask: Callable[[Client, str], Mapping[str, Any]], job_ids: Sequence[str], *, until: str, meanwhile: str = "") -> None:
    with connect() as client:
        for job_id in job_ids:
            job = ask(client, job_id)
            if said.as_json:
                json_line(job)
            else:
                print(f"{job['id']} {job['state']}" + ("" if job["state"] == until else meanwhile))

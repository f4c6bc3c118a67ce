"""Following from the command line: Ctrl-C detaches and says how to come back; the end is explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.client.cli.app import hint
from service.client.cli.printing import err
from service.client.cli.session import said
from service.client.follow import follow
from service.client.sdk import Client

ENDS = {"succeeded": 0, "failed": 1, "cancelled": 6}
"""How the command exits for a job that ended so."""


def followed(client: Client, job_id: str) -> Mapping[str, Any]:
    """The job once it has ended, shown while it ran, or with -q only waited for. Raises KeyboardInterrupt once Ctrl-C was answered."""
    try:
        job = client.wait(job_id) if said.quiet else follow(client, job_id, console=err)
    except KeyboardInterrupt:
        err.print("Detached; the job goes on.")
        err.print(f"Watch it again: trainyard watch {job_id}")
        err.print(f"Stop it:        trainyard cancel {job_id}")
        raise
    explain_end(job)
    return job


def explain_end(job: Mapping[str, Any]) -> None:
    """Why it ended, where it did not succeed, and what may be done."""
    if job["error"]:
        err.print(f"{job['state']}: {job['error']['message']} {job['error']['hint'] or ''}".rstrip())
        hint(("Its log", f"trainyard logs {job['id']}"), ("Again from its last checkpoint", f"trainyard retry {job['id']}"))

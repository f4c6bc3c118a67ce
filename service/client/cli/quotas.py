"""`trainyard quota`: what a project may have, and has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from service.client.cli.app import Panel, app, command, hint
from service.client.cli.printing import show_json, show_table
from service.client.cli.session import connect, said
from service.client.errors import BadRequest
from service.client.words import size

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
WORDS = {"running": "jobs that run", "queued": "jobs that wait", "stored_bytes": "in storage", "gpu_hours": "GPU hours of 30 days"}


@command(
    app,
    "trainyard quota",
    "trainyard quota red",
    "trainyard quota red --running 2 --queued 100 --bytes 50GB --gpu-hours 40",
    panel=Panel.SERVICE,
)
def quota(
    project: Annotated[str | None, typer.Argument(help="The project; your own if left out.", metavar="PROJECT", show_default=False)] = None,
    running: Annotated[
        str | None, typer.Option("--running", help="Jobs that may run at a time; `none`, or `default`.", show_default=False)
    ] = None,
    queued: Annotated[str | None, typer.Option("--queued", help="Jobs that may wait or be paused.", show_default=False)] = None,
    stored_bytes: Annotated[str | None, typer.Option("--bytes", help="What it may store: 50GB, 2TB.", show_default=False)] = None,
    gpu_hours: Annotated[str | None, typer.Option("--gpu-hours", help="GPU hours in any 30 days.", show_default=False)] = None,
) -> None:
    """What a project may have, and has. Admins of the installation say how much: what they do not name stays as it is."""
    told = {
        "running": _limit("--running", running),
        "queued": _limit("--queued", queued),
        "stored_bytes": _limit("--bytes", stored_bytes, units=UNITS),
        "gpu_hours": _limit("--gpu-hours", gpu_hours),
    }
    changes = {name: limit for name, limit in told.items() if limit is not None}
    if changes and project is None:
        raise BadRequest("Name the project whose quota this is: trainyard quota PROJECT ...")
    with connect() as client:
        found = client.quota(project)
        if changes and project is not None:
            kept = {name: limit for name, limit in (found["quota"] | changes).items() if limit != DEFAULT}
            found = client.set_quota(project, **kept)
    _show(found)


DEFAULT = -1.0
"""What the installation says."""


def _limit(option: str, text: str | None, *, units: Mapping[str, int] = {"": 1}) -> float | None:
    """The number in the words; 0 for `none`, DEFAULT for `default`, None where nothing is said. Raises BadRequest."""
    if text is None:
        return None
    if text in ("none", "default"):
        return 0 if text == "none" else DEFAULT
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]*)", text, re.ASCII)
    if found is None or found[2].upper() not in units:
        example = "50GB" if len(units) > 1 else "100"
        raise BadRequest(f"{option} {text}: say a number, as {example}; `none` for no limit, `default` for what the installation says.")
    number = float(found[1]) * units[found[2].upper()]
    if not number:
        raise BadRequest(f"{option} {text}: 0 would set no limit; say `none` if that is meant.")
    return int(number) if number.is_integer() else number


def _show(found: Mapping[str, Any]) -> None:
    if said.as_json:
        show_json(found)
        return
    rows = [(WORDS[name], _number(name, found["used"][name]), _most(found, name)) for name in WORDS]
    show_table((f"project {found['project']}", "has", "may have"), rows, right=["has", "may have"])
    if not any(found["quota"].values()):
        hint(("Set a quota", f"trainyard quota {found['project']} --running 2 --queued 100 --bytes 50GB"))


def _most(found: Mapping[str, Any], name: str) -> str:
    limit = found["limits"][name]
    return "any" if limit is None else _number(name, limit)


def _number(name: str, value: float) -> str:
    return size(value) if name == "stored_bytes" else f"{value:,.2f}".rstrip("0").rstrip(".")

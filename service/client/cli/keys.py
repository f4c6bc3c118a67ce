"""`trainyard keys`, `projects`, `whoami`, `audit`: who may do what, and who did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from service.client.cli.acting import confirm
from service.client.cli.app import Group, Panel, app, command, hint
from service.client.cli.printing import show_json, show_table
from service.client.cli.session import connect, said
from service.client.errors import BadRequest

keys = typer.Typer(cls=Group, no_args_is_help=True, help="API keys: who may come in, and do what.")
projects = typer.Typer(cls=Group, no_args_is_help=True, help="Projects: jobs, data sets and keys of one are out of another's sight.")
app.add_typer(keys, name="keys", rich_help_panel=Panel.SERVICE)
app.add_typer(projects, name="projects", rich_help_panel=Panel.SERVICE)

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
KeyId = Annotated[str, typer.Argument(help="The key's id, as `trainyard keys ls` shows it.", metavar="ID", show_default=False)]
ProjectName = Annotated[str, typer.Argument(help="The project's name.", metavar="NAME", show_default=False)]
Expires = Annotated[
    str | None, typer.Option("--expires", help="When it ends: in 90d, 12h, 2w; or a date as 2027-01-31; or `never`.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def moment(text: str | None, *, now: datetime) -> datetime | None:
    """The moment that the words name; None for `never`. Raises BadRequest."""
    if text in (None, "never"):
        return None
    if found := re.fullmatch(r"(\d{1,6})([mhdw])", text, re.ASCII):
        return now + int(found[1]) * UNITS[found[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(f"{text!r} is no moment. Say for example 90d, 12h, 2027-01-31, or never.") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@command(keys, "trainyard keys create alice --role submit --project red", "trainyard keys create ci --expires 90d --json | jq -r .key")
def create(
    name: Annotated[str, typer.Argument(help="What it is for: a person, a program.", metavar="NAME", show_default=False)],
    role: Annotated[str, typer.Option("--role", help="read, submit or admin: each may all that the ones before it may.")] = "submit",
    project: Annotated[str | None, typer.Option("--project", help="Its project; your own if left out.", show_default=False)] = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="An admin key of the installation, for every project.")] = False,
    expires: Expires = None,
) -> None:
    """Make a key. Its secret is printed to stdout this once."""
    if everywhere and project:
        raise BadRequest("--everywhere and --project exclude each other.")
    end = moment(expires, now=datetime.now(tz=UTC))
    with connect() as client:
        made = client.create_key(name, role="admin" if everywhere else role, project="*" if everywhere else project, expires_at=end)
    _show_secret(made)


@command(keys, "trainyard keys ls", "trainyard keys ls --project red --json", name="ls")
def list_keys(project: Annotated[str | None, typer.Option("--project", help="Only this project's.", show_default=False)] = None) -> None:
    """Every key that you rule, without secrets; those that are expired or revoked, too."""
    with connect() as client:
        found = client.keys(project=project)
    if said.as_json:
        show_json(found)
        return
    columns = ("id", "name", "project", "role", "state", "expires", "last used")
    show_table(
        columns,
        [(*(each[name] for name in columns[:5]), _day(each["expires_at"]), _minute(each["last_used_at"])) for each in found],
        give=["name"],
    )
    if not found:
        hint("There are none: everybody may do everything.", ("Make the first", "trainyard keys create NAME --everywhere"))


@command(keys, "trainyard keys show 3f2a9c01b7d4")
def show(key_id: KeyId) -> None:
    """What a key is, when it ends, when it was last used."""
    with connect() as client:
        found = client.key(key_id)
    _show(found)


@command(keys, "trainyard keys change 3f2a9c01b7d4 --name nightly", "trainyard keys change 3f2a9c01b7d4 --expires never")
def change(
    key_id: KeyId,
    name: Annotated[str | None, typer.Option("--name", help="Another name.", show_default=False)] = None,
    expires: Expires = None,
) -> None:
    """Give a key another name or another end."""
    changes: dict[str, Any] = {"name": name} if name else {}
    if expires:
        changes["expires_at"] = moment(expires, now=datetime.now(tz=UTC))
    with connect() as client:
        changed = client.change_key(key_id, **changes)
    _show(changed)


@command(keys, "trainyard keys rotate 3f2a9c01b7d4", "trainyard keys rotate 3f2a9c01b7d4 --overlap 0m")
def rotate(
    key_id: KeyId,
    overlap: Annotated[str, typer.Option("--overlap", help="How long the old secret works, too: 30m, 12h, 1d.")] = "1d",
) -> None:
    """Give a key a new secret, printed this once; the old one works for a while."""
    now = datetime.now(tz=UTC)
    until = moment(overlap, now=now)
    if until is None or until < now:
        raise BadRequest("--overlap is a length of time: 30m, 12h, 1d.")
    with connect() as client:
        made = client.rotate_key(key_id, overlap_seconds=int((until - now).total_seconds()))
    _show_secret(made)


@command(keys, "trainyard keys revoke 3f2a9c01b7d4", "trainyard keys revoke 3f2a9c01b7d4 --yes")
def revoke(key_id: KeyId, yes: Yes = False) -> None:
    """End a key for good, with its sessions. Asks first where stdin is a terminal."""
    confirm(f"Revoke key {key_id}?", yes=yes)
    with connect() as client:
        client.revoke_key(key_id)
    show_json({"id": key_id, "revoked": True}) if said.as_json else print(f"{key_id} revoked")


@command(projects, "trainyard projects ls", name="ls")
def list_projects() -> None:
    """The projects that you rule."""
    with connect() as client:
        found = client.projects()
    if said.as_json:
        show_json(found)
    else:
        show_table(
            ("name", "created", "description"),
            [(each["name"], _day(each["created_at"]), each["description"]) for each in found],
            give=["description"],
        )


@command(projects, "trainyard projects create red --description 'The red team'", name="create")
def create_project(name: ProjectName, description: Annotated[str, typer.Option("--description", help="Whose it is.")] = "") -> None:
    """Make a project. For admins of the installation."""
    with connect() as client:
        made = client.create_project(name, description=description)
    show_json(made) if said.as_json else print(f"{name} created")
    hint(("Let somebody in", f"trainyard keys create NAME --project {name}"))


@command(projects, "trainyard projects show red", name="show")
def show_project(name: ProjectName) -> None:
    """One project."""
    with connect() as client:
        found = client.project(name)
    _show(found)


@command(projects, "trainyard projects rm red", name="rm")
def remove_project(name: ProjectName, yes: Yes = False) -> None:
    """Remove a project that has no jobs, data sets and live keys. Asks first where stdin is a terminal."""
    confirm(f"Remove project {name}?", yes=yes)
    with connect() as client:
        client.delete_project(name)
    show_json({"name": name, "removed": True}) if said.as_json else print(f"{name} removed")


@command(app, "trainyard whoami", "trainyard --project red whoami", panel=Panel.SERVICE)
def whoami() -> None:
    """Whose key this is, in which project, and what it may do."""
    with connect() as client:
        found = client.me()
    if said.as_json:
        show_json(found)
        return
    who = f"{found['name']} ({found['key_id']})" if found["key_id"] else "anybody: the service has no keys"
    print(f"{who}, {found['role']} in project {found['project']}{', of the installation' if found['everywhere'] else ''}")


@command(app, "trainyard audit --refused", "trainyard audit --key 3f2a9c01b7d4 --since 2026-11-01 --json", panel=Panel.SERVICE)
def audit(
    key: Annotated[str | None, typer.Option("--key", help="Only what this key did.", show_default=False)] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="Only routes in which this stands: DELETE, /v1/keys.", show_default=False)
    ] = None,
    object: Annotated[str | None, typer.Option("--object", help="Only what was done to this id or name.", show_default=False)] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only what was not let in.")] = False,
    since: Annotated[str | None, typer.Option("--since", help="Only from a date on, as 2026-11-01.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many at most.", min=1)] = 50,
) -> None:
    """Who did what, when, from where; the newest first. For admins."""
    start = moment(since, now=datetime.now(tz=UTC))
    with connect() as client:
        found = client.audit(limit=limit, key_id=key, action=action, object=object, refused=refused or None, since=start)
    if said.as_json:
        show_json(found)
        return
    rows = [
        (
            _minute(each["at"]),
            each["key_id"] or "-",
            each["project"] or "-",
            each["outcome"],
            each["action"],
            each["object"] or "",
            each["address"] or "",
            each["times"],
        )
        for each in found
    ]
    show_table(
        ("at", "key", "project", "status", "action", "object", "from", "times"), rows, right=["status", "times"], give=["object", "action"]
    )


def _show(found: Mapping[str, Any]) -> None:
    if said.as_json:
        show_json(found)
    else:
        show_table(("what", "value"), [(name, "-" if value is None else value) for name, value in found.items()])


def _show_secret(made: Mapping[str, Any]) -> None:
    if said.as_json:
        show_json(made)
        return
    print(made["key"])
    hint("Keep it now: it is not told again.", ("Use it", "export TRAINYARD_API_KEY=..."), ("Its id", made["id"]))


def _day(at: str | None) -> str:
    return at[:10] if at else "-"


def _minute(at: str | None) -> str:
    return at[:16].replace("T", " ") if at else "-"

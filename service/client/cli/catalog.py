"""`trainyard catalog`: what a spec can say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from service.client.cli.app import Panel, app, command, hint
from service.client.cli.printing import out, paragraph, show_json, show_table
from service.client.cli.session import said
from service.client.errors import NotFound
from service.spec import catalog as declared

GROUPS = ("layers", "losses", "optimizers", "schedulers", "transforms", "batch_transforms", "datasets", "metrics", "models")


@command(app, "trainyard catalog", "trainyard catalog Conv2d", "trainyard catalog lr", panel=Panel.SPECS, shared=("quiet", "as_json"))
def catalog(
    name: Annotated[str | None, typer.Argument(help="A name, or a part of one.", show_default=False)] = None,
) -> None:
    """What a spec can declare: all names; with one of them, its arguments, types and defaults; with a part, all that match."""
    known = declared.load()
    found = {(kind, each): entry for kind in GROUPS for each, entry in known[kind].items() if name is None or name.lower() in each.lower()}
    exact = {place: entry for place, entry in found.items() if name and place[1].lower() == name.lower()}
    if not found:
        close = declared.suggest(name or "", sorted(each for kind in GROUPS for each in known[kind]))
        raise NotFound(
            f"Nothing that a spec can declare is called {name}. " + (f"Did you mean {close}? " if close else "") + "All: trainyard catalog"
        )
    if said.as_json:
        show_json([{"group": kind, "name": each, **entry} for (kind, each), entry in (exact or found).items()])
    elif exact:
        for (kind, each), entry in exact.items():
            _show_entry(kind, each, entry)
    elif name is None:
        for kind in GROUPS:
            out.print(kind.replace("_", " "), style="bold")
            paragraph(", ".join(known[kind]), indent=2)
        hint(("With its arguments", "trainyard catalog NAME"))
    else:
        show_table(
            ("name", "group", "what"),
            [(each, kind, entry.get("help", "")) for (kind, each), entry in found.items()],
            give=["what"],
            wrap=True,
        )
        hint(("With its arguments", "trainyard catalog NAME"))


def _show_entry(kind: str, name: str, entry: Mapping[str, Any]) -> None:
    paragraph(f"{name} ({kind.replace('_', ' ')}): {entry.get('help', '')}".rstrip(": "))
    rows = [(each, _type(says), _default(says), says.get("help", "")) for each, says in entry.get("args", {}).items()]
    if rows:
        show_table(("argument", "type", "default", "what"), rows, give=["type", "what"], wrap=True)
    for word in ("weights", "facts"):
        if entry.get(word):
            paragraph(f"{word}: {', '.join(_fact(key, value) for key, value in entry[word].items())}")


def _fact(key: str, value: Any) -> str:
    return key if isinstance(value, str) else f"{key.replace('_', ' ')} {'x'.join(map(str, value)) if isinstance(value, list) else value}"


def _type(says: Mapping[str, Any]) -> str:
    words = list(_words(says))
    return " or ".join(words)


def _words(says: Mapping[str, Any]) -> Iterator[str]:
    least, most = says.get("minimum"), says.get("maximum")
    bounds = (
        f" >= {least}"
        if least is not None and most is None
        else f" {least} to {most}"
        if least is not None
        else f" <= {most}"
        if most is not None
        else ""
    )
    yield ", ".join(map(str, says["choices"])) if says["type"] == "choice" else f"{says['type']}{bounds}"
    if says.get("many"):
        yield "a list"
    yield from says.get("words", ())
    if says.get("nullable"):
        yield "null"


def _default(says: Mapping[str, Any]) -> str:
    if says.get("infer"):
        return "inferred"
    if "default" not in says:
        return "required"
    return (
        "null" if says["default"] is None else str(says["default"]).lower() if isinstance(says["default"], bool) else str(says["default"])
    )

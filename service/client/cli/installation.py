"""`trainyard doctor`, `config`, `storage`, `version`: how the installation is, and what it takes."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version

import typer
from rich.text import Text

from service.client.cli.app import Panel, app, command, hint
from service.client.cli.printing import err, out, paragraph, show_json, show_table
from service.client.cli.session import connect, said, settings
from service.client.config import Setting
from service.client.doctor import Surroundings, examine
from service.client.words import size


@command(app, "trainyard doctor", "trainyard doctor --json | jq '.[].name'", panel=Panel.SERVICE)
def doctor() -> None:
    """Look at everything that training needs, say what is wrong and how to mend it. Exit 1 where something is."""
    findings = []
    with connect() as client:
        for finding in examine(client, Surroundings()):
            findings.append(finding)
            if not said.as_json:
                out.print(
                    Text(f"{'ok ' if finding.ok else 'BAD'} ", style="green" if finding.ok else "bold red"),
                    Text(f"{finding.name}: {finding.seen}"),
                    sep="",
                    soft_wrap=not out.is_terminal,
                )
                if not finding.ok:
                    paragraph(finding.cure, indent=4)
    if said.as_json:
        show_json([asdict(finding) for finding in findings])
    bad = [finding.name for finding in findings if not finding.ok]
    hint(f"To be mended: {', '.join(bad)}." if bad else "All is well.")
    raise typer.Exit(1 if bad else 0)


@command(app, "trainyard config", "trainyard --url http://gpu-box:8000 config", panel=Panel.SERVICE)
def config() -> None:
    """Which address, key and project hold, and where each came from: flags, then environment, then file."""
    found = settings()
    rows = [(each.name, _told(each), each.source) for each in (found.url, found.api_key, found.project)]
    if said.as_json:
        show_json({"file": str(found.file), **{name: {"value": value or None, "source": source} for name, value, source in rows}})
    else:
        show_table(("setting", "value", "from"), rows)
    for warning in found.warnings:
        err.print(f"warning: {warning}")
    hint(("The file", str(found.file)), ("It says", f'url = "{found.url.value}"'))


def _told(setting: Setting) -> str:
    """The value; of a key only its end, by which its owner knows it."""
    if not setting.value or setting.name != "api_key":
        return setting.value or ""
    return f"...{setting.value[-4:]}" if len(setting.value) > 12 else "..."


@command(app, "trainyard storage", panel=Panel.SERVICE)
def storage() -> None:
    """What your jobs and data sets take in storage."""
    with connect() as client:
        usage = client.storage()
    if said.as_json:
        show_json(usage)
    else:
        show_table(
            ("what", "objects", "size"),
            ((kind, f"{each['objects']:,}", size(each["bytes"])) for kind, each in usage.items()),
            right=["objects", "size"],
        )


@command(app, "trainyard version", name="version", panel=Panel.SERVICE, shared=("as_json",))
def show_version() -> None:
    """This command's version."""
    show_json({"version": version("trainyard")}) if said.as_json else print(version("trainyard"))

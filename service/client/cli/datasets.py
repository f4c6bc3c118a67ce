"""`trainyard datasets`: push, ls, show, rm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from service.client.cli.acting import confirm
from service.client.cli.app import Group, Panel, app, command, hint, note
from service.client.cli.completing import dataset_names
from service.client.cli.printing import err, show_json, show_table
from service.client.cli.printing import state as coloured
from service.client.cli.session import connect, said
from service.client.errors import Rejected
from service.client.words import size

group = typer.Typer(cls=Group, no_args_is_help=True, help="Data sets of your own: upload, look at, remove.")
app.add_typer(group, name="datasets", rich_help_panel=Panel.SERVICE)

Name = Annotated[str, typer.Argument(help="The data set's name.", metavar="NAME", show_default=False, autocompletion=dataset_names)]
Version = Annotated[
    str | None,
    typer.Option("--version", help="Its SHA-256, or at least eight digits of it; the newest where none is named.", show_default=False),
]


@command(group, "trainyard datasets push flowers ./flowers", "trainyard datasets push wine wine.csv")
def push(
    name: Name,
    path: Annotated[
        Path, typer.Argument(exists=True, help="A folder, zip, tar, npz, CSV or Parquet file.", metavar="PATH", show_default=False)
    ],
) -> None:
    """Upload a data set, and wait until it was looked at. Exit 3 where it cannot be used; what is wrong is listed."""
    with connect() as client:
        with _bar(path.name) as moved:
            sent = client.push(name, path, moved=moved)
        if sent["state"] == "validating":
            note("Uploaded; it is being looked at ...")
        dataset = client.wait_dataset(name, sent["version"])
    _show(dataset)
    if dataset["state"] == "invalid":
        _print_flaws(dataset)
        raise typer.Exit(Rejected.exit_code)
    hint(("Train on it", f"dataset: {{type: Upload, name: {name}}}"))


@command(group, "trainyard datasets ls", name="ls")
def list_datasets() -> None:
    """Every version of every data set."""
    with connect() as client:
        datasets = client.datasets()
    if said.as_json:
        show_json(datasets)
        return
    splits = ("train", "validation", "test")
    rows = []
    for each in datasets:
        content = each["content"] or {"layout": "", "sizes": {}}
        counts = [f"{content['sizes'][split]:,}" if split in content["sizes"] else "" for split in splits]
        rows.append((each["name"], each["version"][:12], coloured(each["state"]), content["layout"], *counts, size(each["size"])))
    show_table(("name", "version", "state", "kind", *splits, "size"), rows, right=[*splits, "size"], give=["name", "kind"])
    if not rows:
        hint("There are none.", ("Upload one", "trainyard datasets push NAME PATH"))


@command(group, "trainyard datasets show flowers", "trainyard datasets show flowers --sheet flowers.png")
def show(
    name: Name,
    version: Version = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Save a picture of some samples of each class there (PNG).", show_default=False)
    ] = None,
) -> None:
    """What is in a data set: classes and counts, columns, sizes; or what is wrong with it."""
    with connect() as client:
        dataset = client.dataset(name, version)
        if sheet is not None:
            sheet.write_bytes(client.dataset_sheet(name, dataset["version"]))
            note(f"Samples of each class: {sheet}")
    _show(dataset)
    _print_flaws(dataset)


@command(group, "trainyard datasets rm flowers", "trainyard datasets rm flowers --version 3f2a9c01 --yes")
def rm(name: Name, version: Version = None, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove a data set, or one version of it. Refused while a job needs it. Asks first where stdin is a terminal."""
    confirm(f"Remove {'version ' + version + ' of ' if version else ''}data set {name}?", yes=yes)
    with connect() as client:
        client.delete_dataset(name, version)
    show_json({"name": name, "version": version, "removed": True}) if said.as_json else print(f"{name} removed")


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; `moved(bytes, of)`."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, disable=said.quiet or not err.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show(dataset: Mapping[str, Any]) -> None:
    if said.as_json:
        show_json(dataset)
        return
    print(f"{dataset['name']} {dataset['version'][:12]} {dataset['state']}")
    content = dataset["content"]
    if content is None:
        return
    sizes = ", ".join(f"{size:,} {split}" for split, size in content["sizes"].items())
    shape = f", each {content['shape']}" if content["shape"] else ""
    print(f"{content['layout']}: {sizes}{shape}")
    if content["mean"]:
        print(f"mean {content['mean']}, std {content['std']}")
    if content["counts"]:
        splits = list(content["sizes"])
        show_table(
            ("class", *splits),
            ((name, *(f"{counts.get(split, 0):,}" for split in splits)) for name, counts in content["counts"].items()),
            right=splits,
        )
    if content["columns"]:
        rows = [(column["name"], column["kind"], f"{column['missing']:,}", _values(column)) for column in content["columns"]]
        show_table(("column", "kind", "missing", "values"), rows, right=["missing"], give=["values"])


def _values(column: Mapping[str, Any]) -> str:
    if column["kind"] == "numeric":
        return f"{column['least']:g} to {column['most']:g}"
    values = column["values"] or ()
    return ", ".join(values[:8]) + (f", ... ({len(values)})" if len(values) > 8 else "")


def _print_flaws(dataset: Mapping[str, Any]) -> None:
    for flaw in dataset["flaws"]:
        cure = f" {flaw['suggestion']}" if flaw["suggestion"] else ""
        err.print(f"  {flaw['entry'] or dataset['name']}: {flaw['detail']}{cure}")
    if dataset["more_flaws"]:
        err.print(f"  and {dataset['more_flaws']} more")

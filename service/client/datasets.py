"""`trainyard datasets`: push, ls, show, rm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from service.client.errors import Rejected
from service.client.sdk import Client

app = typer.Typer(no_args_is_help=True, help="Data sets of your own: upload, look at, remove.")
err = Console(stderr=True, soft_wrap=True, markup=False)
out = Console(soft_wrap=True, markup=False)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Name = Annotated[str, typer.Argument(help="The data set's name.")]
Version = Annotated[str | None, typer.Option("--version", help="Its SHA-256, or at least eight digits of it; default: the newest.")]


@app.command()
def push(
    name: Name,
    path: Annotated[Path, typer.Argument(exists=True, help="A folder, zip, tar, npz, CSV or Parquet file.")],
    as_json: JsonFlag = False,
) -> None:
    """Upload a data set, and wait until it was looked at. Exit 3 where it cannot be used; what is wrong is listed."""
    with Client() as client:
        with _bar(path.name) as moved:
            sent = client.push(name, path, moved=moved)
        if sent["state"] == "validating":
            err.print("Uploaded; it is being looked at ...")
        dataset = client.wait_dataset(name, sent["version"])
    _show(dataset, as_json=as_json)
    if dataset["state"] == "invalid":
        _print_flaws(dataset)
        raise typer.Exit(Rejected.exit_code)


@app.command("ls")
def list_datasets(as_json: JsonFlag = False) -> None:
    """Every version of every data set."""
    with Client() as client:
        datasets = client.datasets()
    if as_json:
        out.print_json(json.dumps(datasets))
        return
    table = Table("name", "version", "state", "kind", "train", "validation", "test", "bytes")
    for each in datasets:
        content = each["content"] or {"layout": "", "sizes": {}}
        sizes = [str(content["sizes"].get(split, "")) for split in ("train", "validation", "test")]
        table.add_row(each["name"], each["version"][:12], each["state"], content["layout"], *sizes, f"{each['size']:,}")
    out.print(table)


@app.command()
def show(
    name: Name,
    version: Version = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Save a picture of some samples of each class there (PNG).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """What is in a data set: classes and counts, columns, sizes; or what is wrong with it."""
    with Client() as client:
        dataset = client.dataset(name, version)
        if sheet is not None:
            sheet.write_bytes(client.dataset_sheet(name, dataset["version"]))
            err.print(f"Samples of each class: {sheet}", highlight=False)
    _show(dataset, as_json=as_json)
    _print_flaws(dataset)


@app.command()
def rm(name: Name, version: Version = None) -> None:
    """Remove a data set, or one version of it. Refused while a job needs it."""
    with Client() as client:
        client.delete_dataset(name, version)
    print(f"{name} removed")


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; `moved(bytes, of)`."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show(dataset: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(dataset))
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
        table = Table("class", *content["sizes"])
        for name, counts in content["counts"].items():
            table.add_row(name, *(str(counts.get(split, 0)) for split in content["sizes"]))
        out.print(table)
    if content["columns"]:
        table = Table("column", "kind", "missing", "values")
        for column in content["columns"]:
            table.add_row(column["name"], column["kind"], str(column["missing"]), _values(column))
        out.print(table)


def _values(column: Mapping[str, Any]) -> str:
    if column["kind"] == "numeric":
        return f"{column['least']:g} to {column['most']:g}"
    values = column["values"] or ()
    return ", ".join(values[:8]) + (f", ... ({len(values)})" if len(values) > 8 else "")


def _print_flaws(dataset: Mapping[str, Any]) -> None:
    for flaw in dataset["flaws"]:
        cure = f" {flaw['suggestion']}" if flaw["suggestion"] else ""
        err.print(f"  {flaw['entry'] or dataset['name']}: {flaw['detail']}{cure}", highlight=False)
    if dataset["more_flaws"]:
        err.print(f"  and {dataset['more_flaws']} more", highlight=False)

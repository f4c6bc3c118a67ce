"""`trainyard metrics`, `checkpoints`, `artifacts`, `download`, `predict`: what came of a job."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from csv import DictWriter
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from service.client.cli.app import JobId, Panel, app, command, hint, note
from service.client.cli.printing import fitting, json_line, out, show_json, show_table, show_text
from service.client.cli.session import connect, said
from service.client.words import ago, blocks_of, number, size, spark

CURVE = 32
"""Characters of a curve in the terminal."""
PLAIN = ("epoch", "step", "at")
LAST = ("step", "lr", "train_seconds", "samples_per_second", "peak_memory_bytes")
"""Columns that a narrow terminal does without, the last one first."""


class Per(StrEnum):
    """What a row of metrics stands for."""

    EPOCH = "epoch"
    STEP = "step"


@command(
    app,
    "trainyard metrics job_019...",
    "trainyard metrics job_019... --plot",
    "trainyard metrics job_019... --csv > metrics.csv",
    panel=Panel.RESULTS,
)
def metrics(
    job_id: JobId,
    per: Annotated[Per, typer.Option("--per", help="What a row stands for.")] = Per.EPOCH,
    plot: Annotated[bool, typer.Option("--plot", help="Draw each as a curve.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """What was measured: a row for each finished epoch, or each logged step."""
    if csv and plot:
        raise typer.BadParameter("a CSV has no curves", param_hint="--csv")
    with connect() as client:
        if csv and per is Per.EPOCH and not said.as_json:
            print(client.metrics_csv(job_id), end="")
            return
        rows: list[Mapping[str, Any]] = list(client.steps(job_id) if per is Per.STEP else client.metrics(job_id))
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "at"]
    if said.as_json:
        show_json(rows)
    elif csv:
        table = DictWriter(sys.stdout, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    elif not rows:
        hint("There are none yet.", ("Watch it", f"trainyard watch {job_id}"))
    elif plot:
        show_table(("metric", "first", "last", "least", "most", "curve"), _curves(rows, columns), right=["first", "last", "least", "most"])
    else:
        _show_rows(rows, columns)
        hint(("As curves", f"trainyard metrics {job_id} --plot"), ("Beside another job", f"trainyard compare {job_id} ID"))


def _show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """What matters most first; what the terminal is too narrow for is named."""
    names = sorted(columns, key=lambda name: (LAST.index(name) if name in LAST else -1, columns.index(name)))
    cells = [[number(row.get(name)) for name in names] for row in rows]
    count = fitting(names, cells)
    show_table(names[:count], (row[:count] for row in cells), right=names)
    if names[count:]:
        hint(f"Too many for this terminal: {', '.join(names[count:])}. All of them: --csv, --json")


def _curves(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[tuple[str, ...]]:
    found = []
    for name in columns:
        values = [row[name] for row in rows if isinstance(row.get(name), (int, float))]
        if name not in PLAIN and values:
            curve = spark(values, width=CURVE, blocks=blocks_of(out.encoding))
            found.append((name, *(f"{value:.4g}" for value in (values[0], values[-1], min(values), max(values))), curve))
    return found


@command(app, "trainyard checkpoints job_019...", panel=Panel.RESULTS)
def checkpoints(job_id: JobId) -> None:
    """The checkpoints that are kept of a job, newest first."""
    with connect() as client:
        found = client.checkpoints(job_id)
    if said.as_json:
        show_json(found)
        return
    rows = [
        (each["epoch"], each["step"], "best" if each.get("best") else "", size(each["size"]), ago(each["created_at"])) for each in found
    ]
    show_table(("epoch", "step", "", "size", "written"), rows, right=["epoch", "step", "size"])
    if not found:
        hint("There are none.")


@command(app, "trainyard artifacts job_019...", panel=Panel.RESULTS)
def artifacts(job_id: JobId) -> None:
    """The files of an ended job, with sizes and SHA-256."""
    with connect() as client:
        files = client.artifacts(job_id)
    if said.as_json:
        show_json(files)
        return
    show_table(
        ("path", "size", "sha256"), ((file["path"], size(file["size"]), file["sha256"]) for file in files), right=["size"], give=["sha256"]
    )
    hint(("Take them home", f"trainyard download {job_id}"))


@command(app, "trainyard download job_019... -o model/", "trainyard download job_019... --only 'plots/*'", panel=Panel.RESULTS)
def download(
    job_id: JobId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; the job's id where none is named.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Only this file, or those of a pattern; may be said again.", metavar="PATH", show_default=False),
    ] = None,
) -> None:
    """Fetch the artifacts, each verified by its SHA-256."""
    folder = output or Path(job_id)
    with connect() as client:
        written = client.download(job_id, folder, only=only or None)
    if said.as_json:
        show_json([str(path) for path in written])
    else:
        print(*written, sep="\n")
    note(f"{len(written)} files, {size(sum(path.stat().st_size for path in written))}, in {folder}")


@command(app, "trainyard predict job_019... photo.png", "trainyard predict job_019... rows.csv --json", panel=Panel.RESULTS)
def predict(
    job_id: JobId,
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, help="PNG, JPEG, CSV or JSON files of samples.", metavar="FILE...", show_default=False),
    ],
    resize: Annotated[bool, typer.Option("--resize", help="Make images of another size fit.")] = False,
) -> None:
    """Ask a trained model: a line for each sample, with the answer and how sure it is."""
    with connect() as client:
        for file in files:
            predicted = client.predict(job_id, file, resize=resize)
            if said.as_json:
                json_line({"file": str(file), **predicted})
                continue
            for at in range(len(predicted["outputs"])):
                which = "" if len(predicted["outputs"]) == 1 else f", sample {at}"
                show_text(f"{file}{which}: {_answer(predicted, at)}")


def _answer(predicted: Mapping[str, Any], at: int) -> str:
    if predicted["classes"] is None:
        return ", ".join(f"{value:.6g}" for value in predicted["outputs"][at]) if isinstance(predicted["outputs"][at], list) else "?"
    said = predicted["classes"][at]
    sure = predicted["probabilities"] and predicted["probabilities"][at]
    if isinstance(said, list):
        return ", ".join(said) or "none"
    return f"{said} ({sure[predicted['names'].index(said)]:.4f})" if sure else str(said)

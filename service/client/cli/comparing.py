"""`trainyard compare`: which run won, and what was different about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from service.client.cli.app import Panel, app, command, hint
from service.client.cli.completing import job_ids
from service.client.cli.printing import out, show_json, show_table
from service.client.cli.printing import state as coloured
from service.client.cli.session import connect, said
from service.client.words import duration, moment

Ids = Annotated[list[str], typer.Argument(help="Ids of two jobs or more.", metavar="ID ID...", show_default=False, autocompletion=job_ids)]
FIRST = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "train_accuracy", "train_loss")
ASIDE = ("lr", "samples_per_second", "peak_memory_bytes", "train_seconds")
BESIDE = 48
"""Characters of a row besides its metrics."""
NOT_COMPARED = ("name", "labels", "spec_version")


@command(app, "trainyard compare job_a job_b", "trainyard compare job_a job_b job_c --json", panel=Panel.RESULTS)
def compare(ids: Ids) -> None:
    """Jobs side by side: their metrics, the best of each marked with *, and of their specs only what differs."""
    if len(ids) < 2:
        raise typer.BadParameter("name two jobs or more", param_hint="ID")
    with connect() as client:
        jobs = [client.get(each) for each in ids]
    differing = differences(jobs)
    if said.as_json:
        kept = ("id", "name", "state", "metrics", "progress")
        show_json({"jobs": [{name: job[name] for name in kept} for job in jobs], "differences": differing})
        return
    _show_metrics(jobs)
    out.print()
    if differing:
        columns = [str(at) for at, _ in enumerate(jobs, 1)]
        show_table(("differs", *columns), ((path, *map(_value, values)) for path, values in differing.items()), give=columns)
    else:
        out.print("Their specs say the same.")
    hint(("Their curves", "trainyard metrics ID --plot"))


def _show_metrics(jobs: Sequence[Mapping[str, Any]]) -> None:
    known = dict.fromkeys(name for job in jobs for name in job["metrics"] if name not in ASIDE)
    names = (
        [name for name in FIRST if name in known][:4]
        if out.is_terminal
        else [*[n for n in FIRST if n in known], *[n for n in known if n not in FIRST]]
    )
    best = {name: _best(name, [job["metrics"].get(name) for job in jobs]) for name in names}
    rows = [
        (
            str(at),
            job["name"] or job["id"],
            coloured(job["state"]),
            *(_marked(job["metrics"].get(name), best[name]) for name in names),
            _took(job),
        )
        for at, job in enumerate(jobs, 1)
    ]
    show_table(("", "job", "state", *names, "took"), rows, right=names, give=["job"])


def _best(name: str, values: Sequence[float | None]) -> float | None:
    """The lowest loss or error, the highest of anything else; None where all are the same."""
    there = [value for value in values if value is not None]
    if len(set(there)) < 2:
        return None
    return min(there) if any(word in name for word in ("loss", "error")) else max(there)


def _marked(value: float | None, best: float | None) -> Text:
    if value is None:
        return Text("")
    return Text(f"{value:.4f}*", style="bold") if value == best else Text(f"{value:.4f} ")


def _took(job: Mapping[str, Any]) -> str:
    start, end = job.get("started_at"), job.get("finished_at")
    return duration((moment(end) - moment(start)).total_seconds()) if start and end else ""


def differences(jobs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The places where specs differ, as `optimizer.lr`, each with every job's value; None where a job has nothing there."""
    flat = [dict(_leaves({**(job["resolved_spec"] or job["spec"])}, "")) for job in jobs]
    paths = dict.fromkeys(path for each in flat for path in each)
    told = {path: [each.get(path) for each in flat] for path in paths if path.partition(".")[0] not in NOT_COMPARED}
    return {path: values for path, values in told.items() if any(value != values[0] for value in values)}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = (
        value.items()
        if isinstance(value, Mapping)
        else enumerate(value)
        if isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value)
        else None
    )
    if inner is None:
        yield path, value
        return
    for key, each in inner:
        yield from _leaves(each, f"{path}.{key}" if path else str(key))


def _value(value: Any) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

"""How the command prints: data to stdout, everything else to stderr; tables, sizes and times as people read them; JSON as programs do."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.client.words import until

_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def written_out(text: str) -> str:
    """A text whose commands to a terminal, and turns of the direction of writing, are letters: names are others' to choose, and so are the words of errors."""
    return _STEERING.sub(lambda found: ascii(found.group())[1:-1], text)


class _Terminal(Console):
    """Prints texts, and does not do what they say."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(written_out(each) if isinstance(each, str) else each for each in objects), **options)


err = _Terminal(stderr=True, soft_wrap=not sys.stderr.isatty(), markup=False, highlight=False)
"""On a terminal a long sentence is wrapped between words; a file gets it as one line."""
out = _Terminal(soft_wrap=True, markup=False, highlight=False)

GAP, LEAST, LEAST_WRAPPED = 2, 6, 22
"""Spaces between columns, and what is left of one that gives."""
WIDEST = 10_000
"""Columns of a table that no terminal shows: nothing is shortened for a file or a program."""
STYLES = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "paused": "magenta",
    "ready": "green",
    "invalid": "red",
}


def show_text(text: str, *, end: str = "\n") -> None:
    """A text on stdout; for a file or a program as it is."""
    print(written_out(text) if out.is_terminal else text, end=end, flush=True)


def show_json(value: Any) -> None:
    """One JSON document on stdout; indented for people at a terminal, a line for programs."""
    print(json.dumps(value, default=_plain, indent=2 if out.is_terminal else None, ensure_ascii=False))


def json_line(value: Any) -> None:
    """One line of a stream of JSON documents, at once."""
    print(json.dumps(value, default=_plain, ensure_ascii=False), flush=True)


def _plain(value: Any) -> Any:
    """What reads like a mapping or a list, as one."""
    return dict(value) if isinstance(value, Mapping) else list(value)


def aligned(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    right: Iterable[str] = (),
    give: Sequence[str] = (),
    wrap: bool = False,
    width: int = WIDEST,
) -> Table:
    """A table without lines. Columns of `right` hold numbers; where it is wider than `width` those of `give` are shortened, the last one first.

    With `wrap` what does not fit goes on in the next line, instead of being cut.
    """
    shown = [[cell if isinstance(cell, Text) else Text(written_out(str(cell))) for cell in row] for row in rows]
    widths = {name: max([_width(name), *(row[at].cell_len for row in shown)]) for at, name in enumerate(columns)}
    too_wide = sum(widths.values()) + GAP * (len(columns) - 1) - width
    for name in reversed(give):
        less = max(0, min(too_wide, widths[name] - (LEAST_WRAPPED if wrap else LEAST)))
        widths[name], too_wide = widths[name] - less, too_wide - less
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            width=widths[name],
            no_wrap=not wrap,
            overflow="fold" if wrap else "ellipsis",
        )
    for row in shown:
        table.add_row(*row)
    return table


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = (), give: Sequence[str] = (), wrap: bool = False
) -> None:
    """The table on stdout; off a terminal nothing is shortened."""
    if out.is_terminal:
        out.print(aligned(columns, rows, right=right, give=give, wrap=wrap, width=out.width), soft_wrap=False)
        return
    wide = Console(file=StringIO(), width=WIDEST, no_color=True)
    wide.print(aligned(columns, rows, right=right))
    for line in wide.file.getvalue().splitlines():  # type: ignore[attr-defined]  # a StringIO
        print(line.rstrip())


def fitting(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """How many of the columns, from the left, the terminal can show side by side; all of them off a terminal."""
    if not out.is_terminal:
        return len(columns)
    room, count = out.width + GAP, 0
    for at, name in enumerate(columns):
        room -= max([_width(name), *(_width(str(row[at])) for row in rows)]) + GAP
        if room < 0:
            break
        count += 1
    return count


def paragraph(text: str, *, indent: int = 0) -> None:
    """Words on stdout, wrapped between them on a terminal."""
    if out.is_terminal:
        out.print(Padding(written_out(text), (0, 0, 0, indent)), soft_wrap=False)
    else:
        print(" " * indent + text)


def _width(text: str) -> int:
    return Text(text).cell_len


def state(name: str) -> Text:
    """A state in its colour."""
    return Text(name, style=STYLES.get(name, ""))


def progress_of(job: Mapping[str, Any]) -> str:
    """How far a job is: `3/10`, or before the first epoch is done, a percentage."""
    progress = job["progress"]
    if job["state"] == "running" and not progress["epoch"] and progress.get("percent"):
        return f"{progress['percent']:.0f} %"
    return f"{progress['epoch']}/{job['spec'].get('epochs', '?')}"


def newest_short(values: Mapping[str, float]) -> str:
    """The metric that matters most, in a word and a number."""
    for name, word in (
        ("test_accuracy", "acc"),
        ("val_accuracy", "val"),
        ("test_loss", "loss"),
        ("val_loss", "loss"),
        ("train_loss", "loss"),
    ):
        if name in values:
            return f"{word} {values[name]:.4g}"
    return ""


def latest(values: Mapping[str, float]) -> str:
    """The metrics that matter most, those of the test first."""
    for chosen in (("test_accuracy", "test_loss"), ("val_accuracy", "val_loss"), ("train_loss",)):
        found = [f"{name} {values[name]:.4f}" for name in chosen if name in values]
        if found:
            return found[0]
    return ""


def summary(job: Mapping[str, Any]) -> str:
    """A job in a line."""
    why = f" ({job['error']['message']})" if job["error"] else f" ({job['reason']})" if job["reason"] else ""
    place = f", place {job['queue_position']}" if job.get("queue_position") else ""
    start = f", starts {until(job['estimated_start_at'])}" if job.get("estimated_start_at") else ""
    return f"{job['id']} {job['state']}{why}{place}{start} {latest(job['metrics'])}".rstrip()


def show_faults(faults: Iterable[Mapping[str, Any]], places: Mapping[str, str] | None = None) -> None:
    """Each fault with its place, on stderr. `places` gives a pointer's place in a file, where one is known."""
    for fault in faults:
        where = f"{places[fault['pointer']]}: " if places and fault["pointer"] in places else ""
        cure = f" {fault['suggestion']}" if fault.get("suggestion") else ""
        err.print(f"  {where}{fault['pointer'] or '/'}: {fault['detail']}{cure}")


def show_warnings(warnings: Iterable[Mapping[str, Any]]) -> None:
    """Each warning of a spec, on stderr."""
    for warning in warnings:
        err.print(f"warning: {warning['pointer']} {warning['detail']} {warning['suggestion'] or ''}".rstrip())

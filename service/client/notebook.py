"""What a notebook shows of a job and of rows: HTML with an SVG curve. No script, no style sheet, no other host; fits a light and a dark page.

Text and lines take the page's own colour (currentColor), surfaces are a translucent grey, and the two curves' colours stand out on both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from service.client.errors import ClientError

if TYPE_CHECKING:
    from service.client.handle import Job

COLOURS = {
    "queued": "#6b7280",
    "running": "#2563eb",
    "paused": "#b45309",
    "succeeded": "#15803d",
    "failed": "#b91c1c",
    "cancelled": "#57534e",
}
CURVES = {"train_loss": ("train", "#3b82f6", ""), "val_loss": ("validation", "#f97316", "6 3")}
"""Columns of the curve: what each is called, its colour, its dashes."""
SHOWN = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "train_accuracy", "train_loss", "samples_per_second")
"""Metrics that come first, in this order; the others follow by name."""
MOST_METRICS, MOST_ROWS, MOST_POINTS, MOST_WARNINGS = 8, 12, 300, 5
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 190, 52, 12, 26, 24
LOG_FROM = 30
"""The largest loss over the smallest, above which the axis counts powers of ten."""

_CARD = (
    "max-width:600px;padding:14px 16px 12px;border:1px solid rgba(128,128,128,.35);border-radius:10px;"
    "font:13px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;color:inherit;text-align:left;overflow-wrap:anywhere"
)
_QUIET = "opacity:.68"
_NUMBER = "font-variant-numeric:tabular-nums"


def card(job: Job) -> str:
    """A job as it is now: state, progress, latest metrics, and its loss by epoch. Shows what is known where the service cannot be asked."""
    rows: Sequence[Mapping[str, Any]] = ()
    try:
        if not job.has_ended:
            job.refresh()
        rows = job.metrics()
        unheard = ""
    except ClientError as error:
        unheard = _note("#b45309", "As last heard", str(error))
    parts = [_head(job), _bar(job), curve(rows), _latest(job.get("metrics") or {}), _why(job), unheard]
    return f'<div style="{_CARD}">{"".join(parts)}</div>'


def _head(job: Job) -> str:
    state = str(job.get("state"))
    busy = f" · {job['phase']}" if job.get("phase") else ""
    badge = (
        f'<span style="background:{COLOURS.get(state, COLOURS["queued"])};color:#fff;border-radius:999px;padding:2px 11px;font-weight:600">'
        f"{escape(state + busy)}</span>"
    )
    name = f"<strong>{escape(str(job['name']))}</strong>" if job.get("name") else ""
    id = f'<code style="{_QUIET};font-size:11px;background:none;color:inherit">{escape(str(job.get("id")))}</code>'
    return f'<div style="display:flex;flex-wrap:wrap;gap:4px 10px;align-items:center">{badge}{name}{id}</div>'


def _bar(job: Job) -> str:
    progress, state = job.progress, str(job.get("state"))
    percent = min(100.0, max(0.0, progress.percent))
    said = [f"epoch {progress.epoch:,} of {progress.epochs:,}", f"{percent:.0f} %"]
    if progress.eta_seconds is not None and not job.has_ended:
        said.append(f"{_duration(progress.eta_seconds)} left")
    if job.get("queue_position"):
        said.append(f"place {job['queue_position']} in the queue")
    fill = f"width:{percent:.1f}%;height:100%;border-radius:3px;background:{COLOURS.get(state, COLOURS['queued'])}"
    return (
        f'<div role="progressbar" aria-label="progress" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}" '
        f'style="height:6px;margin:10px 0 3px;border-radius:3px;background:rgba(128,128,128,.22)"><div style="{fill}"></div></div>'
        f'<div style="{_QUIET};{_NUMBER};font-size:12px">{escape(" · ".join(said))}</div>'
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _latest(metrics: Mapping[str, Any]) -> str:
    names = [name for name in SHOWN if name in metrics]
    names += sorted(name for name in metrics if name not in SHOWN)
    if not names:
        return ""
    cells = "".join(
        f'<div><div style="{_QUIET};font-size:11px">{escape(name)}</div>'
        f'<div style="{_NUMBER};font-size:15px;font-weight:600">{escape(number(metrics[name]))}</div></div>'
        for name in names[:MOST_METRICS]
    )
    return f'<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax(118px,1fr));gap:6px 14px;margin-top:8px">{cells}</div>'


def _why(job: Job) -> str:
    notes = ""
    if error := job.get("error"):
        notes += _note(COLOURS["failed"], str(error["message"]), str(error.get("hint") or ""))
    elif reason := job.get("reason"):
        notes += _note(COLOURS["queued"], str(reason).replace("_", " "), "")
    for told in (job.get("warnings") or [])[:MOST_WARNINGS]:
        notes += _note(COLOURS["paused"], f"{told.get('pointer', '')} {told['detail']}".strip(), str(told.get("suggestion") or ""))
    return notes


def _note(colour: str, what: str, more: str) -> str:
    more = f'<div style="{_QUIET}">{escape(more)}</div>' if more else ""
    return f'<div style="margin-top:10px;padding:2px 0 2px 10px;border-left:3px solid {colour}">{escape(what)}{more}</div>'


def number(value: Any) -> str:
    """A number with some four digits; words as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (abs(value) >= 1000 and math.isfinite(value)):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def curve(rows: Sequence[Mapping[str, Any]]) -> str:
    """Loss by epoch as SVG, training beside validation; empty where there is no finite loss."""
    lines = {name: _points(rows, name) for name in CURVES}
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    scale = _Scale(points)
    drawn = "".join(_line(name, line, scale) for name, line in lines.items() if line)
    said = ", ".join(f"{CURVES[name][0]} {number(line[-1][1])}" for name, line in lines.items() if line)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"loss by epoch; at the end: {said}")}" '
        'style="display:block;width:100%;height:auto;margin-top:8px;font:11px system-ui,sans-serif" fill="currentColor">'
        f"{scale.grid()}{drawn}{_legend(lines)}</svg>"
    )


Point = tuple[float, float]


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    """(epoch, value) of every epoch with a finite one, thinned out evenly; the last one stays."""
    found = [
        (float(row.get("epoch", at)), float(row[name]))
        for at, row in enumerate(rows, 1)
        if isinstance(row.get(name), int | float) and math.isfinite(row[name])
    ]
    step = math.ceil(len(found) / MOST_POINTS) or 1
    return found[:-1:step] + found[-1:]


class _Scale:
    """From (epoch, loss) to places on the page."""

    def __init__(self, points: Sequence[Point]) -> None:
        epochs, losses = [point[0] for point in points], [point[1] for point in points]
        self.first, self.last = min(epochs), max(epochs)
        self.is_log = min(losses) > 0 and max(losses) / min(losses) > LOG_FROM
        self.ticks = _powers(min(losses), max(losses)) if self.is_log else _steps(min(losses), max(losses))
        self._low, self._high = self._of(min(*self.ticks, *losses)), self._of(max(*self.ticks, *losses))

    def _of(self, loss: float) -> float:
        return math.log10(loss) if self.is_log else loss

    def x(self, epoch: float) -> float:
        """Pixels from the left."""
        share = (epoch - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, loss: float) -> float:
        """Pixels from the top."""
        share = (self._of(loss) - self._low) / (self._high - self._low) if self._high > self._low else 0.5
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> str:
        """A line and a number for each tick, and the first and last epoch below."""
        lines = "".join(
            f'<path d="M{LEFT} {self.y(tick):.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity=".14"/>'
            f'<text x="{LEFT - 8}" y="{self.y(tick) + 3.5:.1f}" text-anchor="end" fill-opacity=".68">{number(tick)}</text>'
            for tick in self.ticks
        )
        ends = dict.fromkeys((self.first, self.last))
        anchors = ("start", "end") if len(ends) == 2 else ("middle",)
        below = "".join(
            f'<text x="{self.x(epoch):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}" fill-opacity=".68">{word}{epoch:,.0f}</text>'
            for epoch, anchor, word in zip(ends, anchors, ("epoch ", ""), strict=False)
        )
        return lines + below


def _steps(low: float, high: float) -> list[float]:
    """Three to six round numbers from below the lowest to above the highest."""
    if high <= low:
        return [low]
    rough = (high - low) / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * at for at in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten around both, at most six."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = math.ceil((last - first) / 5)
    return [10.0**at for at in range(last, first - every, -every)][::-1]


def _line(name: str, line: Sequence[Point], scale: _Scale) -> str:
    word, colour, dashes = CURVES[name]
    places = " ".join(f"{scale.x(epoch):.1f},{scale.y(loss):.1f}" for epoch, loss in line)
    drawn = (
        f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round" stroke-dasharray="{dashes}"/>'
    )
    (epoch, loss) = line[-1]
    drawn += f'<circle cx="{scale.x(epoch):.1f}" cy="{scale.y(loss):.1f}" r="3.5" fill="{colour}"/>'
    # what a pointer finds: each epoch's number
    return drawn + "".join(
        f'<circle cx="{scale.x(epoch):.1f}" cy="{scale.y(loss):.1f}" r="7" fill-opacity="0">'
        f"<title>epoch {epoch:,.0f}: {word} loss {number(loss)}</title></circle>"
        for epoch, loss in (line if len(line) <= 100 else ())
    )


def _legend(lines: Mapping[str, Sequence[Point]]) -> str:
    drawn, x = f'<text x="{LEFT}" y="13" font-weight="600">loss</text>', LEFT + 40
    for name, line in lines.items():
        if line:
            word, colour, dashes = CURVES[name]
            said = f"{word} {number(line[-1][1])}"
            drawn += f'<path d="M{x} 9h20" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dashes}"/><text x="{x + 26}" y="13">{said}</text>'
            x += 44 + 7 * len(said)
    return drawn


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table; of many, the first and the last."""
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "at"]
    if not columns:
        return f'<div style="{_QUIET};font:12.5px/1.45 system-ui,sans-serif">no rows yet</div>'
    half = MOST_ROWS // 2
    parts = [rows] if len(rows) <= MOST_ROWS else [rows[:half], rows[-half:]]
    cell = "padding:3px 12px;white-space:nowrap;text-align:"
    head = "".join(
        f'<th scope="col" style="{cell}{_side(rows, name)};border-bottom:1px solid rgba(128,128,128,.5);font-weight:600">{escape(name)}</th>'
        for name in columns
    )
    between = f'<tr><td colspan="{len(columns)}" style="{cell}center;{_QUIET}">… {len(rows) - 2 * half:,} more …</td></tr>'
    body = between.join(
        "".join(f"<tr>{''.join(_cell(row, name, cell + _side(rows, name)) for name in columns)}</tr>" for row in part) for part in parts
    )
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;border:0;margin:2px 0;color:inherit;'
        f'font:12.5px/1.45 system-ui,sans-serif;{_NUMBER}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(row: Mapping[str, Any], name: str, style: str) -> str:
    line = "border-bottom:1px solid rgba(128,128,128,.16)"
    return f'<td style="{style};{line}">{escape(number(row[name])) if row.get(name) is not None else ""}</td>'


def _side(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Numbers to the right, so that their digits stand below each other."""
    words = any(isinstance(row.get(name), str) for row in rows)
    return "left" if words else "right"

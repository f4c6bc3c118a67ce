"""A page as it is sent: its template filled in, under a policy that lets nothing load from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request, Response
from markupsafe import Markup, escape

from service.access.principal import Principal, Role
from service.api.compressing import compressed
from service.dashboard import assets

NOTHING = "\N{EN DASH}"
"""Where there is no value."""
TEMPLATES = Path(__file__).parent / "templates"

ICONS = {
    "plus": "M8 3v10M3 8h10",
    "search": "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM11 11l3.5 3.5",
    "stop": "M4 4h8v8H4Z",
    "pause": "M5.5 3v10M10.5 3v10",
    "play": "M5 3l8 5-8 5Z",
    "retry": "M13 8a5 5 0 1 1-1.6-3.7M13 2v3.2H9.8",
    "copy": "M6 6h7v7H6ZM3 10V3h7",
    "trash": "M3 4.5h10M6 4V2.5h4V4M4.5 4.5 5 13.5h6l.5-9M7 7v4M9 7v4",
    "download": "M8 2v8M4.5 7 8 10.5 11.5 7M3 13.5h10",
    "contrast": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 2v12",
    "compare": "M4 13V7M8 13V3M12 13V9",
    "warn": "M8 2 15 14H1ZM8 6.5v3.5M8 11.8v.2",
    "book": "M2.5 3.5c2-1 4-1 5.5.5 1.5-1.5 3.5-1.5 5.5-.5v9c-2-1-4-1-5.5.5-1.5-1.5-3.5-1.5-5.5-.5ZM8 4v9",
    "check": "M3 8.5 6.5 12 13 4.5",
}
_ICON = Markup(
    '<svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"'
    ' stroke-linejoin="round" aria-hidden="true"><path d="{}"/></svg>'
)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(template: str, request: Request, *, status: int = 200, policy: str = POLICY, **shown: Any) -> Response:
    """The template as an answer; `shown` is what it names."""
    me: Principal | None = getattr(request.state, "principal", None)
    csrf: str | None = getattr(request.state, "csrf_token", None)
    may = {role.value: me is not None and me.role.allows(role) for role in Role}
    text = rendered(template, request=request, path=request.url.path, me=me, may=may, csrf_token=csrf, **shown)
    return compressed(request, text.encode(), media_type="text/html", status=status, headers=HEADERS | {"Content-Security-Policy": policy})


def rendered(template: str, **shown: Any) -> str:
    """The template filled in."""
    return _environment.get_template(template).render(**shown)


def is_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of a page, and not a browser for the whole of it (a page from its history is wanted whole)."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"


def number(value: float | None) -> str:
    """A metric as people read it: four digits that tell something."""
    if value is None:
        return NOTHING
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"


def size(count: float | None) -> str:
    """Bytes in the largest fitting unit of 1000."""
    if count is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count(value: float | None) -> str:
    """A large count in short: 1.2 k, 3.4 M."""
    if value is None:
        return NOTHING
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= factor:
            return f"{value / (1e3 if unit == ' k' else factor):.3g}{unit}"
    return f"{value:,.0f}"


def duration(seconds: float | timedelta | None) -> str:
    """Seconds as two units at most: 3 min 20 s."""
    if seconds is None:
        return NOTHING
    left = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if left < 10:
        return f"{left:.1f} s"
    parts, left = [], round(left)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        whole, left = divmod(left, length)
        if whole:
            parts.append(f"{whole} {unit}")
    return " ".join(parts[:2])


def in_order(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Metrics as people look for them: of the test first, then of validation and training, then the rest."""
    splits = ("test_", "val_", "train_")
    return sorted(metrics.items(), key=lambda item: (next((at for at, each in enumerate(splits) if item[0].startswith(each)), 9), item[0]))


def when(at: datetime | None, *, short: bool = True) -> Markup:
    """A moment: in UTC as it stands, in words and the reader's own time once app.js has run."""
    if at is None:
        return escape(NOTHING)
    return Markup('<time datetime="{}"{}>{}</time>').format(
        at.isoformat(), Markup(" data-ago") if short else "", at.strftime("%Y-%m-%d %H:%M UTC")
    )


def ticked(words: str) -> Markup:
    """A text whose `names` stand in backticks."""
    parts = (Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(words.split("`")))
    return Markup("").join(parts)


def icon(name: str) -> Markup:
    """A drawing; it says nothing to who does not see it, the words beside it do."""
    return _ICON.format(Markup(ICONS[name]))  # noqa: S704 - our own drawings


def _made() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=number, size=size, count=count, duration=duration, when=when, in_order=in_order, ticked=ticked)
    environment.globals.update(asset=assets.address, icon=icon)
    return environment


_environment = _made()

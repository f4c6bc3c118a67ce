"""The table of figures in a page, between two marks. Rows of pieces that were not run this time stay, where the machine is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BEGIN, END = "<!-- gpu figures -->", "<!-- end of gpu figures -->"
HEAD = "| piece | what | figure |\n|---|---|---|\n"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of a piece."""

    piece: str
    what: str
    figure: str


def with_rows(page: str, rows: Sequence[Row], about: str, *, order: Sequence[str]) -> str:
    """The page with these rows in it. Raises ValueError where it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    measured = {row.piece for row in rows}
    kept = [row for row in _rows(between) if row.piece not in measured] if _machine(about) in between else []
    table = "".join(
        f"| {row.piece} | {row.what} | {row.figure} |\n" for row in sorted([*rows, *kept], key=lambda row: order.index(row.piece))
    )
    return f"{before}{BEGIN}\nMeasured on {about}.\n\n{HEAD}{table}{END}{after}"


def _machine(about: str) -> str:
    """The description without the day."""
    return about.rpartition(";")[0]


def _rows(between: str) -> list[Row]:
    lines = [line for line in between.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [Row(piece=piece, what=what, figure=figure) for piece, what, figure in cells]

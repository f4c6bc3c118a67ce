"""Markdown as code hosts read it: tables, sections that unfold, code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell is one line, and its bars are no borders."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Words of code in a line."""
    return f"`{text}`"


def block(language: str, text: str) -> str:
    """Lines of code."""
    return f"```{language}\n{text.strip()}\n```"


def folded(anchor: str, summary: str, body: str) -> str:
    """A section that shows its summary (HTML) until somebody opens it."""
    return f'<details id="{anchor}"><summary>{summary}</summary>\n\n{body}\n\n</details>'


def page(*parts: str) -> str:
    """A page's parts, a blank line between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def anchor(heading: str) -> str:
    """What a code host makes of a heading: `### POST /v1/jobs` is `#post-v1jobs`."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")

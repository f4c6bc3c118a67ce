"""The README and the pages of docs/ as their readers take them: blocks of code in order, each with what is said about it.

A block is written to a file where the line before says so ("Save this as `job.yaml`:"). Two remarks may stand before one, as HTML comments:
`not run: WHY`, and of YAML that is a part of a spec only, `part of: EXAMPLE`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
WRITTEN_BY_US = ("docs/adr/*.md", "docs/faults.md")
"""Records for who works on the code, without a block of code; other tests hold them."""
OUTPUT = ("", "text")
"""What a program prints, or a drawing."""
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    page: str
    line: int
    language: str
    text: str
    saved_as: str | None
    not_run: str | None
    part_of: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, str]:
    """Every page by its path from the root."""
    hidden = {path for pattern in WRITTEN_BY_US for path in ROOT.glob(pattern)}
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in found if path not in hidden}


def blocks(page: str, text: str) -> list[Block]:
    """A page's blocks, in order."""
    found = list(_FENCE.finditer(text))
    ends = [0, *(each.end() for each in found)]
    return [_block(page, text, each, after) for each, after in zip(found, ends, strict=False)]


def _block(page: str, text: str, found: re.Match[str], after: int) -> Block:
    """`after` is where the block before ends."""
    before = text[after : found.start()].rstrip().rsplit("\n\n", 1)[-1]
    saved, remarks = re.search(r"[Ss]ave this as `([\w./-]+)`:?$", before), dict(re.findall(r"<!-- (not run|part of): (.+?) -->", before))
    return Block(
        page=page,
        line=text.count("\n", 0, found.start()) + 1,
        language=found[2],
        text=re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
        saved_as=saved[1] if saved else None,
        not_run=remarks.get("not run"),
        part_of=remarks.get("part of"),
    )

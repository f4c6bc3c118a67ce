"""docs/faults.md says what is so: every failure has a test that exists, or a reason why there is none."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "faults.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
TEST = r"`(tests/[\w/]+\.py)::(\w+)`"


def test_every_failure_has_a_row() -> None:
    """98 of them, each once, in order."""
    assert [int(row[0]) for row in ROWS] == list(range(1, 99))


def test_every_row_names_a_test_or_a_reason() -> None:
    """A row without a test begins its last cell with why it cannot be caused here."""
    assert [row[0] for row in ROWS if not re.match(rf"{TEST}|Not caused: \w+", row[3])] == []


def test_every_named_test_exists() -> None:
    """In the file that is named, as a function of that name."""
    named = re.findall(TEST, PAGE)

    assert len(named) > 50
    assert [f"{path}::{name}" for path, name in named if not re.search(rf"^def {name}\(", _text(path), re.MULTILINE)] == []


def _text(path: str) -> str:
    file = ROOT / path
    return file.read_text() if file.exists() else ""

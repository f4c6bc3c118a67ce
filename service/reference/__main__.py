"""Writes docs/spec.md, docs/spec/*.md and docs/api.md: `python -m service.reference [--check]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from service.reference.api import api_page
from service.reference.catalog import catalog_pages
from service.reference.spec import spec_page

DOCS = Path(__file__).parent.parent.parent / "docs"


def pages() -> dict[Path, str]:
    """Every page that is written here."""
    openapi = json.loads((DOCS / "openapi.json").read_text())
    groups = {DOCS / "spec" / f"{name}.md": text for name, text in catalog_pages().items()}
    return {DOCS / "spec.md": spec_page(), DOCS / "api.md": api_page(openapi), **groups}


def main() -> int:
    """Write the pages, or with --check say which committed ones are stale (exit 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a committed page is stale")
    if not parser.parse_args().check:
        for path, text in pages().items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return 0
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(DOCS.parent)} is stale: run `make reference`", file=sys.stderr)  # noqa: T201
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

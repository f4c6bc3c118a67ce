"""Writes docs/openapi.json from the routes: `python -m service.openapi [--check]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from service.main import build
from service.settings import ApiSettings

TARGET = Path(__file__).parent.parent / "docs" / "openapi.json"


def main() -> int:
    """Write the file, or with --check say whether the committed one is stale (exit 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the committed file is stale")
    text = json.dumps(build(ApiSettings.read()).app.openapi(), indent=1) + "\n"
    if not parser.parse_args().check:
        TARGET.write_text(text)
        return 0
    if not TARGET.exists() or TARGET.read_text() != text:
        print("docs/openapi.json is stale: run `make openapi`", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

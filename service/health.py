"""Whether this container's process works, for HEALTHCHECK: `python -m service.health`. A worker's last beat is fresh; else an API is ready."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

FRESH_SECONDS = 30.0
"""As long as the registry remembers a worker that says nothing."""


def main() -> int:
    """Say what is so; exit code 1 where it is not well. Loads nothing but the standard library: it runs every few seconds."""
    beat = Path(os.environ.get("TRAINYARD_BEAT_FILE", os.devnull))
    well, words = _heard(beat) if beat.is_file() else _ready()
    print(words)  # noqa: T201
    return 0 if well else 1


def _heard(beat: Path) -> tuple[bool, str]:
    """Of a worker: when it last told the registry of itself."""
    age = time.time() - beat.stat().st_mtime
    return age < FRESH_SECONDS, f"the worker's last beat was {age:.0f} s ago"


def _ready() -> tuple[bool, str]:
    url = f"http://127.0.0.1:{os.environ.get('TRAINYARD_PORT', '8000')}/readyz"
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=4) as answer:
            return True, answer.read().decode()
    except (URLError, OSError) as error:
        return False, f"no worker's beat, and {url} does not say that it is ready: {error}"


if __name__ == "__main__":
    sys.exit(main())

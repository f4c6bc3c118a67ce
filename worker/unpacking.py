"""Unpacks data in a process apart, that has no credentials: what is in a file may be anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

UNPACK_SECONDS = 3600


class DatasetMissing(Exception):
    """No place has the data; the text names where was looked, and the cure."""


def unpacked(upload: Path, files: Path) -> str:
    """Unpack a file into a folder: where below it the data begin. Raises DatasetMissing."""
    program = "import worker.ingest.inspecting as inspecting; inspecting.unpack_alone()"
    command = [sys.executable, "-P", "-c", program, str(upload), str(files)]
    try:
        # no credential in its environment
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH") if name in os.environ}
        done = subprocess.run(command, env=kept, capture_output=True, timeout=UNPACK_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise DatasetMissing(f"Unpacking took longer than {UNPACK_SECONDS} s.") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise DatasetMissing(f"The upload cannot be unpacked here: {said[-1] if said else f'exit status {done.returncode}'}")
    return str(json.loads(done.stdout))

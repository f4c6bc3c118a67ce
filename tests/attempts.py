"""One attempt of a spec in this very process, as a trainer makes it, in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.spec.job import JobSpec
from worker.trainer import _attempt
from worker.training.facts import Fact


def attempt(spec: JobSpec, folder: Path, **command: Any) -> tuple[Path, list[Fact]]:
    """The folder of artifacts, and everything that was told. `command` changes what the supervisor would send."""
    told: list[Fact] = []
    folder.mkdir(parents=True, exist_ok=True)
    sent: Mapping[str, Any] = {
        "spec": spec.model_dump(mode="json"),
        "directory": str(folder),
        "datasets_dir": str(folder),
        "cache": {"folder": str(folder / "cache"), "limit_bytes": 0},
        "initial": None,
        "resume": None,
    }
    _attempt({**sent, **command}, tell=told.append, stopping=lambda: False)
    return folder / "artifacts", told

"""The use cases' collaborators for tests: twins and stand-ins where a test says nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service.adapters.memory import MemoryArtifacts
from service.adapters.stores import Stores
from service.datasets.ports import Look
from service.jobs.errors import LocalDataMissing
from service.jobs.ports import Fetch, Question
from service.spec.content import Inspected
from service.spec.verdict import Checked
from service.use_cases import Services


class NoPreflight:
    """Nothing is checked."""

    def check(self, _: object) -> Checked:
        raise AssertionError("nothing is to be checked here")

    def script(self, _: object) -> str:
        raise AssertionError("nothing is to be written here")


class NoInspector:
    """Nobody looks."""

    def look(self, _: Path, __: Path, *, alive: Callable[[], None]) -> Look:
        raise AssertionError(f"nobody is to look here ({alive})")


class NoLocalData:
    """The operator has none."""

    def find(self, name: str) -> Inspected:
        raise LocalDataMissing(f"There is no {name}.", "Upload it.")


class NoPredictor:
    """Nobody answers."""

    def predict(self, model: str, files: Fetch, question: Question, *, is_custom: bool) -> dict[str, Any]:
        raise AssertionError(f"{model} is not to be asked here ({files}, {question}, {is_custom})")


class TemporarySpool:
    """The Spool, in the system's temporary folder."""

    @contextmanager
    def file(self) -> Iterator[Path]:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "upload"
            path.touch()
            yield path

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        with TemporaryDirectory() as folder:
            yield Path(folder)


def services_of(stores: Stores, **others: Any) -> Services:
    """The use cases on these stores; `others` take the place of stand-ins."""
    standing_in = {
        "artifacts": MemoryArtifacts(),
        "links": None,
        "preflight": NoPreflight(),
        "local_data": NoLocalData(),
        "inspector": NoInspector(),
        "predictor": NoPredictor(),
        "spool": TemporarySpool(),
        "threads": 1,
        "ring": lambda *_: None,
        "tell": lambda: None,
        "reach": None,
        "look": lambda: None,
        "look_seconds": 60.0,
        "upload_bytes": 2**30,
        "now": lambda: datetime.now(tz=UTC),
    }
    kept = {
        name: getattr(stores, name)
        for name in ("jobs", "intake", "requests", "facts", "workers", "accounts", "datasets", "outbox", "secrets")
    }
    return Services(**{**kept, **standing_in, **others})

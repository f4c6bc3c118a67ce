"""A worker's copies of uploads: fetched once for all, kept while they are read, the oldest gone first."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from service.adapters.memory import MemoryArtifacts, stores
from service.datasets.ports import DatasetStore
from service.datasets.record import DatasetVersion, key_of
from tests.unit.ingest.corpus import csv
from worker.brought import BroughtShelf
from worker.unpacking import DatasetMissing

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Counting(MemoryArtifacts):
    """Counts what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched = 0

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.fetched += 1
        return super().open(key, start=start, end=end)


@pytest.fixture
def artifacts() -> Counting:
    return Counting()


@pytest.fixture
def datasets() -> DatasetStore:
    return stores(now=lambda: NOW).datasets


def uploaded(name: str, data: bytes, datasets: DatasetStore, artifacts: Counting) -> str:
    version = DatasetVersion(name=name, version=hashlib.sha256(data).hexdigest(), size=len(data), created_at=NOW)
    artifacts.put_bytes(key_of(version, "upload"), data)
    datasets.put(version)
    return version.version


def table(rows: int) -> bytes:
    return csv("a,b", *(f"{at},{at}" for at in range(rows)))


def test_two_that_want_it_at_once_fetch_it_once_and_read_it_together(tmp_path: Path, datasets: DatasetStore, artifacts: Counting):
    """Neither waits for the other's end: a training may take a week."""
    for again in range(10):
        shelf = BroughtShelf(tmp_path / f"uploads {again}", 10**6, artifacts, datasets)
        version = uploaded(f"rows{again}", table(3 + again), datasets, artifacts)
        both = Barrier(2)

        def read(_: int, *, shelf=shelf, version=version, both=both, name=f"rows{again}") -> bytes:
            with shelf.held("default", name, version) as top:
                both.wait(20)
                return (top / "table.csv").read_bytes()

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(read, range(2))) == [table(3 + again)] * 2
        assert artifacts.fetched == again + 1


def test_the_oldest_goes_first_and_never_what_is_read(tmp_path: Path, datasets: DatasetStore, artifacts: Counting):
    shelf = BroughtShelf(tmp_path / "uploads", 2500, artifacts, datasets)
    first, second, third = (uploaded(f"t{size}", table(size), datasets, artifacts) for size in (240, 241, 242))
    with shelf.held("default", "t240", first):
        with shelf.held("default", "t241", second):
            pass
        for at, version in enumerate((first, second)):
            os.utime(tmp_path / "uploads" / version, (1000 + at, 1000 + at))
        with shelf.held("default", "t242", third) as top:
            assert (top / "table.csv").exists()

        assert {path.name for path in (tmp_path / "uploads").iterdir() if path.is_dir()} == {first, third}


def test_what_is_gone_or_changed_is_said(tmp_path: Path, datasets: DatasetStore, artifacts: Counting):
    shelf = BroughtShelf(tmp_path / "uploads", 10**6, artifacts, datasets)
    version = uploaded("rows", table(3), datasets, artifacts)
    found = datasets.find("default", "rows")

    artifacts.put_bytes(key_of(found, "upload"), b"a,b\n9,9\n")
    with pytest.raises(DatasetMissing, match="not those that were uploaded"), shelf.held("default", "rows", version):
        pass
    artifacts.delete([key_of(found, "upload")])
    with pytest.raises(DatasetMissing, match="gone from storage"), shelf.held("default", "rows", version):
        pass
    datasets.remove(found)
    with pytest.raises(DatasetMissing, match="removed after the job"), shelf.held("default", "rows", version):
        pass
    assert [path for path in (tmp_path / "uploads").iterdir() if path.is_dir()] == []


def test_what_a_fetch_that_was_cut_off_left_is_no_copy(tmp_path: Path, datasets: DatasetStore, artifacts: Counting):
    shelf = BroughtShelf(tmp_path / "uploads", 10**6, artifacts, datasets)
    version = uploaded("rows", table(3), datasets, artifacts)
    (tmp_path / "uploads" / f"{version}.part" / "files").mkdir(parents=True)
    (tmp_path / "uploads" / f"{version}.part" / "files" / "table.csv").write_text("half")

    with shelf.held("default", "rows", version) as top:
        assert (top / "table.csv").read_bytes() == table(3)

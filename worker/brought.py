"""Uploaded data sets on this machine's disk: fetched once for all jobs, checked by their digest, unpacked by a process apart."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from service.datasets.ports import DatasetStore
from service.datasets.record import DatasetVersion, key_of
from service.jobs.errors import ArtifactNotFound, DatasetNotFound
from service.jobs.ports import ArtifactStore
from worker.unpacking import DatasetMissing, unpacked


@dataclass(frozen=True)
class BroughtShelf:
    """`<version>/files` holds a version's files, `<version>/top` where in them the data begin.

    `<version>.lock` is held by who reads them, `<version>.fetch` by who fetches them. Above `limit_bytes` what went unused for longest goes, unless a job reads it.
    """

    folder: Path
    limit_bytes: int
    artifacts: ArtifactStore
    datasets: DatasetStore

    @contextmanager
    def held(self, project: str, name: str, version: str) -> Iterator[Path]:
        """The folder where a version's data begin; it stays while the block lasts. Raises DatasetMissing, StorageUnavailable, StoreUnavailable."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{version}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if not self._is_here(version):
                # a lock of its own: who waited for the readers' would wait for the end of every training that began meanwhile
                with (self.folder / f"{version}.fetch").open("a") as fetching:
                    fcntl.flock(fetching, fcntl.LOCK_EX)  # another job may fetch it just now
                    if not self._is_here(version):
                        self._fetch(self._found(project, name, version))
            os.utime(self.folder / version)
            yield self.folder / version / "files" / (self.folder / version / "top").read_text()

    def _is_here(self, version: str) -> bool:
        return (self.folder / version / "top").exists()

    def _found(self, project: str, name: str, version: str) -> DatasetVersion:
        try:
            return self.datasets.find(project, name, version)
        except DatasetNotFound as error:
            raise DatasetMissing(f"{error} It was removed after the job was submitted.") from error

    def _fetch(self, version: DatasetVersion) -> None:
        self._make_room(version.size)
        part = self.folder / f"{version.version}.part"  # nobody else fetches it; what a fetch that was cut off left goes
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            upload = part / "upload"
            self._download(version, upload)
            (part / "files").mkdir()
            top = unpacked(upload, part / "files")
            upload.unlink()
            (part / "top").write_text(top)
            part.rename(self.folder / version.version)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _download(self, version: DatasetVersion, target: Path) -> None:
        digest = hashlib.sha256()
        try:
            with target.open("wb") as out:
                for chunk in self.artifacts.open(key_of(version, "upload")):
                    digest.update(chunk)
                    out.write(chunk)
        except ArtifactNotFound as error:
            raise DatasetMissing(
                f"The bytes of data set {version.name} ({version.version[:12]}) are gone from storage. Upload it again."
            ) from error
        if digest.hexdigest() != version.version:
            raise DatasetMissing(
                f"The bytes of data set {version.name} are not those that were uploaded ({version.version[:12]}). Upload it again."
            )

    def _make_room(self, size: int) -> None:
        """Remove what went unused for longest until `size` more bytes fit."""
        kept = sorted((path for path in self.folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime, reverse=True)
        room = self.limit_bytes - size
        for path in kept:
            room -= sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            if room < 0 and (lock := _taken(self.folder / f"{path.stem}.lock")) is not None:
                with lock:
                    shutil.rmtree(path)


def _taken(path: Path) -> IO[str] | None:
    """The lock, held until it is closed; None where somebody reads."""
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock

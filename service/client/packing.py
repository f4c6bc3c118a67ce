"""What is to be uploaded, as one file: a folder becomes a tar that has the same bytes wherever, and whenever, it is packed."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.client.errors import BadRequest

CHUNK = 2**20


@dataclass(frozen=True)
class Parcel:
    """A file with its size in bytes, and its SHA-256, hex."""

    path: Path
    size: int
    sha256: str


@contextmanager
def parcel(path: Path) -> Iterator[Parcel]:
    """A file as it is, or a folder as a tar, which is gone after the block. Raises BadRequest, OSError."""
    if not path.is_dir():
        yield _described(path)
        return
    with tempfile.NamedTemporaryFile(prefix="trainyard-", suffix=".tar") as out:
        _pack(path, Path(out.name))
        yield _described(Path(out.name))


def _pack(folder: Path, target: Path) -> None:
    """Plain files only, by their names, without times, owners and modes."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise BadRequest(f"{path} is a link or a device; only plain files and folders can be uploaded.")
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
                continue
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)


def _described(path: Path) -> Parcel:
    with path.open("rb") as file:
        return Parcel(path, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk

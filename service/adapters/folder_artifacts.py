"""The ArtifactStore as a folder on this machine, for a job that no service runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from pathlib import Path

from service.jobs.errors import ArtifactNotFound, StorageUnavailable
from service.jobs.ports import Stored

CHUNK = 2**20


class FolderArtifacts:
    """Keys are paths below `root`. Raises StorageUnavailable where the disk refuses a file, a full one above all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:  # noqa: ARG002  # a folder has no place for it
        """Copy one file in."""
        self._whole(key, lambda part: shutil.copyfile(path, part))

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/json") -> None:  # noqa: ARG002  # as above
        """Write a small object."""
        self._whole(key, lambda part: part.write_bytes(data))

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes start..end (inclusive; to the last where None), in chunks. Raises ArtifactNotFound before the first."""
        if not self._path(key).is_file():
            raise ArtifactNotFound(key)
        return self._chunks(self._path(key), start, end)

    def list(self, prefix: str) -> Sequence[Stored]:
        """Every object under the prefix, by key."""
        paths = sorted(path for path in self._root.rglob("*") if path.is_file() and not path.name.endswith(".part"))
        keys = {path.relative_to(self._root).as_posix(): path for path in paths}
        return [_stored(key, path) for key, path in sorted(keys.items()) if key.startswith(prefix)]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those already gone are fine."""
        for key in keys:
            self._path(key).unlink(missing_ok=True)

    def abort_uploads(self, prefix: str) -> int:  # noqa: ARG002  # an object here is whole at once
        """Abandon every upload in parts under the prefix that was never completed; returns how many."""
        return 0

    def _path(self, key: str) -> Path:
        return self._root / key

    def _whole(self, key: str, write: Callable[[Path], object]) -> None:
        path = self._path(key)
        part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(part)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StorageUnavailable(f"{path} cannot be written: {error.strerror}") from error

    @staticmethod
    def _chunks(path: Path, start: int, end: int | None) -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(start)
            left = path.stat().st_size if end is None else end + 1 - start
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk


def _stored(key: str, path: Path) -> Stored:
    return Stored(key=key, size=path.stat().st_size, etag=md5(path.read_bytes(), usedforsecurity=False).hexdigest())

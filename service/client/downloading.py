"""Files of a job's manifest onto this machine: each appears whole and verified, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx2

from service.client.errors import Corrupt, NotFound, Unreachable
from service.client.patience import Patience

File = Mapping[str, Any]
"""A line of the manifest: {path, size, sha256, url}."""
Opening = Callable[[str, Mapping[str, str]], AbstractContextManager[httpx2.Response]]
"""Asks for a URL with headers; gives an answer whose body is still to be read."""


def chosen(manifest: Iterable[File], only: str | Sequence[str] | None) -> list[File]:
    """The files whose path is one of the names or fits one of the patterns, as `plots/*`. Raises NotFound for a name that nothing fits."""
    files = list(manifest)
    if only is None:
        return files
    wanted = [only] if isinstance(only, str) else list(only)
    for name in wanted:
        if not any(fnmatchcase(file["path"], name) for file in files):
            raise NotFound(f"The job left no {name}; it left {', '.join(file['path'] for file in files) or 'nothing'}.")
    return [file for file in files if any(fnmatchcase(file["path"], name) for name in wanted)]


def place(file: File, folder: Path) -> Path:
    """Where a file goes. Raises Corrupt where that were outside the folder."""
    target = folder / str(file["path"])
    if not target.resolve().is_relative_to(folder.resolve()):
        raise Corrupt(f"The manifest names {file['path']!r}, which lies outside the folder.")
    return target


def fetch(file: File, target: Path, *, ask: Opening) -> None:
    """The file, unless it lies there already. What breaks off is gone on with from its last byte, for as long as bytes come.

    Raises Corrupt, Unreachable, OSError; leaves nothing then.
    """
    if target.is_file() and _is_whole(file, target):
        return
    part = target.with_name(target.name + ".part")
    patience, most = Patience(), 0
    try:
        while True:
            try:
                _save(file, part, ask)
                break
            except Unreachable as failure:
                if (size := _size(part)) > most:
                    patience, most = Patience(), size
                patience.after(failure)
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()


def _save(file: File, part: Path, ask: Opening) -> None:
    """The bytes that are still missing, no more than the manifest says. Raises Corrupt."""
    resumed = _size(part) > 0
    if _size(part) < file["size"] or not resumed:
        resumed = _append(file, part, ask)
    if _is_whole(file, part):
        return
    part.unlink(missing_ok=True)
    if not resumed:
        raise Corrupt(f"{file['path']} arrived damaged; try again.")
    _save(file, part, ask)  # its beginning may have been another file's


def _append(file: File, part: Path, ask: Opening) -> bool:
    """Ask for the rest; whether what came went on where the part ends. A server that knows no ranges sends all of it again."""
    size = _size(part)
    # a range counts the bytes as they lie there, so they must come so, not packed
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
    with ask(file["url"], headers) as answer:
        goes_on = size > 0 and answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {size}-")
        size = size if goes_on else 0
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if goes_on else "wb") as out:
            for chunk in answer.iter_bytes():
                size += out.write(chunk)
                if size > file["size"]:
                    break
    return goes_on


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _is_whole(file: File, path: Path) -> bool:
    if _size(path) != file["size"]:
        return False
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest() == str(file["sha256"])

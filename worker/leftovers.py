"""What code that nobody trusts leaves in its folder: weighed while it writes, looked at before it is taken home, removed whatever was done to it.

Nothing here follows a link, recurses, or believes that a path is short enough to be opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

MOST_FILES = 100_000
MOST_RESULTS = 1000
DEEPEST = 32
LONGEST_NAME = 500
"""Bytes of a result's name with its folders: it becomes a part of a key in storage, which ends at 1024."""


class Unfit(Exception):
    """What the code left is no work of a training; the text says what."""


@dataclass(frozen=True)
class Weight:
    """What lies in a folder: files and folders, and bytes."""

    files: int = 0
    size: int = 0


def weigh(folder: Path, *, most_files: int | None = None) -> Weight:
    """What lies there now; what vanishes meanwhile counts for nothing. Raises Unfit for what is hidden, or for more than so many files."""
    files = size = 0
    for _, found in _found_in(folder):
        files, size = files + 1, size + found.st_size
        if most_files is not None and files > most_files:
            raise Unfit(f"The job's code made more than {MOST_FILES:,} files.")
    return Weight(files, size)


def check_written(folder: Path, *, before: Weight, limit_bytes: int) -> None:
    """Raises Unfit where a folder that is being written to holds so much more than before, or more than can be counted."""
    now = weigh(folder, most_files=before.files + MOST_FILES)
    if now.size - before.size > limit_bytes:
        raise Unfit(f"The job's code wrote more than {limit_bytes / 1024**3:g} GiB.")


def check_results(folder: Path) -> None:
    """Raises Unfit where anything under it is neither a plain file nor a folder, or has a name that storage or a terminal cannot bear."""
    for at, (path, found) in enumerate(_found_in(folder)):
        name = path.relative_to(folder).as_posix()
        if at == MOST_RESULTS:
            raise Unfit(f"The job's code put more than {MOST_RESULTS:,} files where its results should be.")
        if not name.isprintable() or len(name.encode()) > LONGEST_NAME:
            raise Unfit(f"The job's code gave a result a name that cannot be kept: {name[:LONGEST_NAME]!a}")
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise Unfit("The job's code put links or devices where its results should be.")


def _found_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything under a folder. Raises Unfit where it is hidden from us."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            paths = [Path(entry.path) for entry in os.scandir(here)]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # of a mode that keeps us out, or at the end of too long a path
            raise Unfit(f"The job's code made folders that cannot be read ({error.strerror}).") from error
        for path in paths:
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Unfit(f"The job's code made files that cannot be read ({error.strerror}).") from error
            yield path, found
            if stat.S_ISDIR(found.st_mode):
                if len(path.relative_to(folder).parts) > DEEPEST:
                    raise Unfit(f"The job's code made folders that are more than {DEEPEST} deep.")
                waiting.append(path)


def remove(folder: Path) -> None:
    """Remove a folder and all in it, once nobody writes there any more: however deep, and of whatever mode. What still cannot be removed stays.

    Folders inside folders are moved up right below `folder` first, so that no path and no stack grows with their depth.
    """
    with suppress(OSError), ExitStack() as closing:
        _empty(_opened(folder, closing))
        folder.rmdir()


def _empty(top: int) -> None:
    fresh = (f".removed-{number}" for number in count())
    while names := os.listdir(top):  # a descriptor, no path
        for name in names:
            if _unlinked(name, top):
                continue
            # the owner's own folder may forbid its owner to look inside, and to move what is in it
            os.chmod(name, 0o700, dir_fd=top)
            with ExitStack() as closing:
                inner = _opened(name, closing, within=top)
                for each in os.listdir(inner):  # noqa: PTH208  # as above
                    if not _unlinked(each, inner):
                        os.chmod(each, 0o700, dir_fd=inner)
                        os.rename(each, _unused(fresh, top), src_dir_fd=inner, dst_dir_fd=top)
            os.rmdir(name, dir_fd=top)


def _unlinked(name: str, folder: int) -> bool:
    """Whether it was no folder, and is gone."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.EPERM):
            return False
        raise
    return True


def _unused(names: Iterator[str], folder: int) -> str:
    while True:
        name = next(names)
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return name


def remove_files(folder: Path, names: Sequence[str], *, inside: Path) -> None:
    """Remove these files of a folder, and it, while code that nobody trusts goes on writing below `inside`. What it put in the way stays until `remove`."""
    *way, last = folder.relative_to(inside).parts
    with suppress(OSError), ExitStack() as closing:
        parent = _opened(inside, closing)
        for part in way:
            parent = _opened(part, closing, within=parent)
        here = _opened(last, closing, within=parent)
        for name in names:
            os.unlink(name, dir_fd=here)
        os.rmdir(last, dir_fd=parent)


def _opened(folder: str | Path, closing: ExitStack, *, within: int | None = None) -> int:
    """A folder's descriptor, which no link leads to."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    closing.callback(os.close, descriptor)
    return descriptor

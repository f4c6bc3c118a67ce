"""Unpacks an archive into a fresh folder: plain files only, every byte counted as it comes, whatever the archive says of itself.

Python's tarfile is not used: its `extractall` was got round again and again (CVE-2025-4517, CVE-2025-4330, CVE-2025-4138); `tars` says what else.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, cast

from worker.ingest.flaws import BadData, bad
from worker.ingest.names import is_readable
from worker.ingest.tars import BLOCK, Entry, Tar, not_a_file

Kind = Literal["zip", "tar", "gzip", "bzip2", "xz", "parquet", "npy", "text"]

_CHUNK = 2**20
_IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
"""What systems put into folders by themselves."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an upload may become. A bomb shows by its ratio: text and tables shrink to a tenth, zeros to a thousandth."""

    entries: int = 1_000_000
    total_bytes: int = 50 * 2**30
    ratio: int = 100
    ratio_from_bytes: int = 100 * 2**20
    """Up to here any ratio will do."""
    path_length: int = 1024
    depth: int = 20


def kind_of(path: Path) -> Kind:
    """What a file is, by its first bytes; its name proves nothing."""
    with path.open("rb") as file:
        head = file.read(BLOCK)
    marks: tuple[tuple[bytes, Kind], ...] = (
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"PAR1", "parquet"),
        (b"\x93NUMPY", "npy"),
    )
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for mark, kind in marks if head.startswith(mark)), "text")


def unpack(source: Path, target: Path, limits: Limits | None = None) -> None:
    """Every file of a zip or tar (plain, or packed by gzip, bzip2 or xz) into the empty folder `target`. Raises BadData, OSError."""
    counted = _Counted(target, packed=source.stat().st_size, limits=limits or Limits())
    kind = kind_of(source)
    with source.open("rb") as file:
        if kind == "zip":
            _unzip(file, counted)
        else:
            _untar(_opened(file, kind), counted)


def _opened(file: BinaryIO, kind: Kind) -> BinaryIO:
    match kind:
        case "gzip":
            return cast("BinaryIO", gzip.GzipFile(fileobj=file))
        case "bzip2":
            return cast("BinaryIO", bz2.BZ2File(file))
        case "xz":
            return cast("BinaryIO", lzma.LZMAFile(file))
        case "tar":
            return file
    raise bad("unknown_format", "This is no archive.", suggestion="Send a zip or tar of files, an npz, a CSV or a Parquet table.")


class Readable(Protocol):
    """What the bytes of an entry are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Some; none at the end."""


class _Counted:
    """Writes entries, and stops at the first limit."""

    def __init__(self, target: Path, *, packed: int, limits: Limits) -> None:
        self._target, self._limits = target, limits
        self._most = min(limits.total_bytes, max(limits.ratio_from_bytes, limits.ratio * packed))
        self._packed, self._total, self._entries = packed, 0, 0

    def expect(self, size: int) -> None:
        """What an archive says of itself is not trusted, but taken at its word where it says too much."""
        if size > self._most:
            raise self._too_large()

    def place(self, name: str) -> Path | None:
        """Where an entry goes; None for what systems leave about. Raises BadData where it would leave the folder."""
        self._entries += 1
        if self._entries > self._limits.entries:
            raise bad("too_many_entries", f"It holds more than {self._limits.entries:,} entries.", suggestion="Send fewer, larger files.")
        parts = checked_parts(name, self._limits)
        if not parts or any(part in _IGNORED or part.startswith("._") for part in parts):
            return None
        return self._target.joinpath(*parts)

    def folder(self, name: str, path: Path) -> None:
        """A folder, which may stay empty."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise bad("duplicate_entry", "A file stands where this entry needs a folder.", entry=name) from error

    def write(self, name: str, path: Path, source: Readable, size: int) -> None:
        """The bytes of an entry, exactly as many as it says."""
        left = size
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out:
                while chunk := source.read(min(_CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        raise bad("lying_size", f"It is larger than the {size:,} bytes that the archive says.", entry=name)
                    self.count(len(chunk))
                    out.write(chunk)
        except FileExistsError as error:
            raise bad("duplicate_entry", "Another entry has this name, or a part of it.", entry=name) from error
        except NotADirectoryError as error:
            raise bad("duplicate_entry", "A file stands where this entry needs a folder.", entry=name) from error
        if left:
            raise bad(
                "truncated",
                f"{left:,} of its {size:,} bytes are missing: the archive was cut off.",
                entry=name,
                suggestion="Send it again.",
            )

    def count(self, size: int) -> None:
        """So many bytes more came out of it."""
        self._total += size
        if self._total > self._most:
            raise self._too_large()

    def end(self, source: BinaryIO) -> None:
        """What follows a tar's end mark: zeros, up to the size of its last record, and nothing else."""
        while chunk := source.read(_CHUNK):
            self.count(len(chunk))
            if chunk.count(0) < len(chunk):
                raise bad("broken_archive", "Something follows the end of the tar.", suggestion="Send one archive.")

    def _too_large(self) -> BadData:
        unpacked = f"{self._packed:,} bytes become more than {self._most:,}"
        if self._most < self._limits.total_bytes:
            return bad("bomb", f"{unpacked}, over {self._limits.ratio} times as many: a decompression bomb.")
        return bad("too_large", f"{unpacked}.", suggestion="Send less, or split it into several data sets.")


def checked_parts(name: str, limits: Limits) -> tuple[str, ...]:
    """An entry's name as the parts of a path below a folder, none for the folder itself. Raises BadData."""
    shown = name[:200]
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        raise bad("unsafe_path", "Its path is absolute, or has backslashes.", entry=shown, suggestion="Use relative paths with slashes.")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if any(not is_readable(part) for part in parts):
        detail = "Its name has control characters, such as cannot be seen or turn the text round, or is no text."
        raise bad("unsafe_path", detail, entry=ascii(shown))
    if ".." in parts:
        raise bad("unsafe_path", "Its path leads out of the archive (`..`).", entry=shown)
    if len(name) > limits.path_length or len(parts) > limits.depth or any(len(part.encode()) > 255 for part in parts):
        raise bad("unsafe_path", f"Its path is too long, or deeper than {limits.depth} folders.", entry=shown)
    return parts


def _unzip(file: BinaryIO, counted: _Counted) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            counted.expect(sum(entry.file_size for entry in entries))
            for entry in entries:
                _unzip_entry(archive, entry, counted)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise bad("broken_archive", f"The zip cannot be read: {error}.", suggestion="Make it again, and send it again.") from error
    except NotImplementedError as error:
        raise bad("broken_archive", f"The zip is packed in a way that cannot be read: {error}.", suggestion="Use deflate.") from error


def _unzip_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, counted: _Counted) -> None:
    name = entry.filename
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise not_a_file(_kind_name(kind), name)
    path = counted.place(name)
    if path is None:
        return
    if entry.is_dir():
        counted.folder(name, path)
        return
    if entry.flag_bits & 1:
        raise bad("encrypted", "It is encrypted.", entry=name, suggestion="Send it without a password.")
    try:
        with archive.open(entry) as source:
            counted.write(name, path, source, entry.file_size)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise bad(
            "broken_archive", f"It cannot be read: {error}.", entry=name, suggestion="Make the zip again, and send it again."
        ) from error


def _kind_name(kind: int) -> str:
    names = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return names.get(kind, "of an unknown kind")


def _untar(source: BinaryIO, counted: _Counted) -> None:
    tar = Tar(source, weigh=counted.count)
    try:
        for entry in tar.entries():
            _untar_entry(tar, entry, counted)
        counted.end(source)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's, and not the archive's
        raise bad("broken_archive", f"It cannot be unpacked: {error}.", suggestion="Make it again, and send it again.") from error


def _untar_entry(tar: Tar, entry: Entry, counted: _Counted) -> None:
    path = counted.place(entry.name)
    counted.expect(entry.size)
    if path is None:
        return
    if entry.kind == "folder":
        counted.folder(entry.name, path)
    else:
        counted.write(entry.name, path, tar, entry.size)

"""Reads a tar front to back: every header checked, what an entry holds as a stream, an error for all else that the format has.

Python's tarfile ends at a damaged header in silence and reads what stands before an entry however long it is; what can be done about that goes by names of
its own that change between patch releases. The format: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar's manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from worker.ingest.flaws import BadData, bad

BLOCK = 512
"""Bytes; everything begins at a multiple of it. Two blocks of zeros end an archive, one is taken for it."""
LONGEST_SAID = 2**20
"""Bytes of what a tar says of an entry before it: a long name, or pax records."""
MOST_SAID = 8
"""How many such headers stand before one entry; writers need two."""

_FILES, _FOLDER = (b"0", b"\0", b"7"), b"5"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_OF_ALL = b"L", b"K", (b"x", b"X"), b"g"
_OTHERS = {
    b"1": "a link",
    b"2": "a link",
    b"3": "a device, a pipe or the like",
    b"4": "a device, a pipe or the like",
    b"6": "a device, a pipe or the like",
    b"S": "a sparse file",
}
_RECORD = re.compile(rb"([0-9]{1,7}) ([^=]+)=")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A plain file of so many bytes, or a folder. Its name is as it stands there, and leads anywhere."""

    name: str
    kind: Literal["file", "folder"]
    size: int


@dataclass
class _Said:
    """What headers before an entry say of it: that counts, and not what its own says."""

    times: int = 0
    name: str | None = None
    size: int | None = None
    is_sparse: bool = False


@dataclass
class Tar:
    """The archive in `source`. `weigh` hears how many bytes were read that are no entry's."""

    source: BinaryIO
    weigh: Callable[[int], None]
    _left: int = field(default=0, init=False)
    """Bytes of the entry that were not read yet."""
    _padding: int = field(default=0, init=False)

    def entries(self) -> Iterator[Entry]:
        """One after the other, up to the end mark; what of one was not read by then is passed over. Raises BadData, and what `source` raises."""
        said = _Said()
        while (header := self._header()) is not None:
            kind, name, size = header[156:157], _name(header), _size(header)
            if kind in (_LONG_NAME, _LONG_LINK, *_PAX, _PAX_OF_ALL):
                self._hear(kind, self._what_is_said(size, name), said)
                continue
            name, size = said.name or name, size if said.size is None else said.size
            is_folder = kind == _FOLDER or (kind == b"\0" and name.endswith("/"))
            if said.is_sparse or (kind not in _FILES and not is_folder):
                raise not_a_file("a sparse file" if said.is_sparse else _OTHERS.get(kind, "of a kind that is not known"), name)
            if size < 0:
                raise bad("lying_size", "Its size is negative.", entry=name[:200])
            self._left = 0 if is_folder else size
            self._padding = -self._left % BLOCK
            yield Entry(name=name, kind="folder" if is_folder else "file", size=self._left)
            self._pass_over()
            said = _Said()

    def read(self, size: int = -1) -> bytes:
        """Of what the entry holds; nothing at its end, and where the archive ends before it."""
        data = self.source.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data

    def _pass_over(self) -> None:
        while self._left and (passed := self.read(2**20)):
            self.weigh(len(passed))
        if self._left or len(self.source.read(self._padding)) < self._padding:
            raise broken("it ends in the midst of an entry")

    def _header(self) -> bytes | None:
        """The next block with a header that is whole; None at the end mark. Raises BadData."""
        block = self.source.read(BLOCK)
        if not block:
            raise bad("truncated", "The tar has no end mark: it was cut off.", suggestion="Send it again.")
        if len(block) < BLOCK:
            raise broken("it ends in the midst of a header")
        if not any(block):
            return None
        told, rest = _number(block[148:156]), block[:148] + b" " * 8 + block[156:]
        # some old writers counted bytes as signed
        if told not in (total := sum(rest), total - 256 * sum(each > 127 for each in rest)):
            raise broken("bad checksum")
        return block

    def _what_is_said(self, size: int, name: str) -> bytes:
        if size > LONGEST_SAID:
            raise bad("bomb", f"What stands before an entry is longer than {LONGEST_SAID:,} bytes.", entry=name[:200])
        if size < 0:
            raise bad("lying_size", "Its size is negative.", entry=name[:200])
        data = self.source.read(size + -size % BLOCK)
        self.weigh(len(data))
        if len(data) < size + -size % BLOCK:
            raise broken("it ends in the midst of a header")
        return data[:size]

    def _hear(self, kind: bytes, data: bytes, said: _Said) -> None:
        said.times += 1
        if said.times > MOST_SAID:
            raise broken(f"more than {MOST_SAID} headers stand before one entry")
        if kind == _LONG_NAME:
            said.name = _text(data)
        elif kind != _LONG_LINK:
            for name, value in _records(data):
                said.is_sparse |= name.startswith(b"GNU.sparse.")
                if name in (b"path", b"size") and kind == _PAX_OF_ALL:
                    raise broken("one header names all entries alike")
                if name == b"path":
                    said.name = value.decode("utf-8", "surrogateescape")
                elif name == b"size":
                    said.size = _decimal(value)


def broken(why: str) -> BadData:
    """What is no tar, or not a whole one."""
    detail = f"This is no archive and no table, or a broken tar: {why}."
    return bad("broken_archive", detail, suggestion="Send a zip or tar of files, an npz, a CSV or a Parquet table.")


def not_a_file(kind: str, name: str) -> BadData:
    """What is neither a plain file nor a folder."""
    return bad("not_a_file", f"It is {kind}; only plain files and folders are taken.", entry=name[:200])


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _size(header: bytes) -> int:
    return _number(header[124:136])


def _number(field: bytes) -> int:
    """Octal digits; or, as GNU's tar writes what is longer, base 256 after a byte that says so. Raises BadData."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big") - (256 ** (len(field) - 1) if field[0] == 0xFF else 0)
    digits = field.partition(b"\0")[0].strip()
    if not re.fullmatch(rb"[0-7]*", digits):
        raise broken("a header has a number that is none")
    return int(digits or b"0", 8)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Pax records, `LENGTH NAME=VALUE` and a line's end, where LENGTH counts all of it. Raises BadData."""
    at = 0
    while at < len(data):
        head = _RECORD.match(data, at)
        end = at + int(head[1]) if head else 0
        if head is None or not head.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise broken("a pax header cannot be read")
        yield head[2], data[head.end() : end - 1]
        at = end


def _decimal(value: bytes) -> int:
    if not re.fullmatch(rb"-?[0-9]{1,40}", value):
        raise broken("a header has a size that is none")
    return int(value)

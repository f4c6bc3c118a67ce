"""A folder of backups: objects by the SHA-256 of their bytes, each once however many backups have it; a snapshot says which made up one backup.

objects/ab/ab12...      an object's bytes
snapshots/TIME.jsonl    a header, a line for each object, and a last line with the SHA-256 of all before: written last, whole or not there
copied.jsonl            what a backup that did not end has copied so far
lock                    held by whoever writes here
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

FORMAT = 1
CHUNK = 2**20


class BackupFault(Exception):
    """A backup cannot be made, read or put back; the text names the place and the cure."""


@dataclass(frozen=True)
class Entry:
    """An object of a backup: where its bytes are, and by what a change of it shows in storage."""

    key: str
    size: int
    etag: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One backup. `only_redis` is what storage does not have: see `making`."""

    name: str
    made_at: str
    version: str
    entries: Mapping[str, Entry]
    only_redis: Mapping[str, Any] = field(default_factory=dict)


class Shelf:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal = folder / "copied.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone. Raises BackupFault where another one writes here, or the folder holds something else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "lock").exists() and any(self.folder.iterdir()):
            raise BackupFault(f"{self.folder} is not empty, and no folder of backups. Name another one.")
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BackupFault(f"Another backup is being made in {self.folder}. Wait for its end.") from error
            for name in ("objects", "snapshots", "coming"):
                (self.folder / name).mkdir(exist_ok=True)
            for left in (self.folder / "coming").iterdir():
                left.unlink()
            yield

    def path(self, sha256: str) -> Path:
        """Where the bytes of this digest are."""
        return self.folder / "objects" / sha256[:2] / sha256

    def holds(self, entry: Entry) -> bool:
        """Whether the bytes are here, in their length."""
        try:
            return self.path(entry.sha256).stat().st_size == entry.size
        except FileNotFoundError:
            return False

    def put(self, key: str, etag: str, chunks: Iterable[bytes]) -> Entry:
        """Keep an object's bytes; whole or not there."""
        coming = self.folder / "coming" / uuid4().hex
        digest, size = hashlib.sha256(), 0
        try:
            with coming.open("wb") as out:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            entry = Entry(key, size, etag, digest.hexdigest())
            target = self.path(entry.sha256)
            target.parent.mkdir(exist_ok=True)
            coming.replace(target)
        finally:
            coming.unlink(missing_ok=True)
        with self._journal.open("a") as journal:
            journal.write(json.dumps(asdict(entry)) + "\n")
        return entry

    def read(self, entry: Entry) -> bytes:
        """A small object's bytes."""
        return self.path(entry.sha256).read_bytes()

    def is_sound(self, entry: Entry) -> bool:
        """Whether the bytes are those that were kept."""
        try:
            with self.path(entry.sha256).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
        except FileNotFoundError:
            return False

    def known(self) -> dict[str, Entry]:
        """What is here already, by key: of the newest backup, and of one that did not end."""
        entries = dict(self.open().entries) if self.names() else {}
        if self._journal.exists():
            for line in self._journal.read_text().splitlines():
                try:
                    entry = Entry(**json.loads(line))
                except (ValueError, TypeError):  # the last line of who was killed while he wrote it
                    continue
                entries[entry.key] = entry
        return entries

    def names(self) -> list[str]:
        """Every backup, the oldest first."""
        return sorted(path.stem for path in (self.folder / "snapshots").glob("*.jsonl"))

    def close(self, entries: Mapping[str, Entry], *, version: str, only_redis: Mapping[str, Any]) -> Snapshot:
        """A backup of these, from now on there."""
        now = datetime.now(tz=UTC)
        name = now.strftime("%Y%m%dT%H%M%S.%fZ")
        header = {"format": FORMAT, "made_at": now.isoformat(), "version": version, "only_redis": only_redis}
        text = "".join(json.dumps(line) + "\n" for line in (header, *(asdict(entries[key]) for key in sorted(entries))))
        end = {"entries": len(entries), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        target = self.folder / "snapshots" / f"{name}.jsonl"
        with target.with_suffix(".coming").open("w") as out:
            out.write(text + json.dumps(end) + "\n")
            out.flush()
            os.fsync(out.fileno())
        target.with_suffix(".coming").replace(target)
        self._journal.unlink(missing_ok=True)
        return Snapshot(name=name, made_at=now.isoformat(), version=version, entries=entries, only_redis=only_redis)

    def open(self, name: str | None = None) -> Snapshot:
        """A backup by its name, or the newest. Raises BackupFault where there is none, or it is not whole."""
        names = self.names()
        if not names or (name is not None and name not in names):
            there = f"There are: {', '.join(names)}." if names else "Make one with `trainyard backup`."
            raise BackupFault(f"{self.folder} has no backup{f' {name}' if name else ''}. {there}")
        chosen = name or names[-1]
        path = self.folder / "snapshots" / f"{chosen}.jsonl"
        *lines, last = path.read_bytes().splitlines(keepends=True) or [b""]
        try:
            whole = json.loads(last)["sha256"] == hashlib.sha256(b"".join(lines)).hexdigest()
            header = json.loads(lines[0])
            entries = {(entry := Entry(**json.loads(line))).key: entry for line in lines[1:]}
        except (ValueError, KeyError, TypeError, IndexError):
            whole = False
        if not whole:
            raise BackupFault(f"{path} is damaged. Take an older backup with --snapshot: {', '.join(names[:-1]) or 'there is none'}.")
        if header["format"] > FORMAT:
            raise BackupFault(
                f"{path} is of format {header['format']}, and this version knows {FORMAT}. Take the version that made it: {header['version']}."
            )
        return Snapshot(name=chosen, made_at=header["made_at"], version=header["version"], entries=entries, only_redis=header["only_redis"])

    def keep(self, newest: int) -> int:
        """Remove all backups but the newest, and the bytes that no other has; how many backups went."""
        gone = self.names()[:-newest]
        for name in gone:
            (self.folder / "snapshots" / f"{name}.jsonl").unlink()
        if gone:
            named = {entry.sha256 for name in self.names() for entry in self.open(name).entries.values()}
            for path in (self.folder / "objects").glob("*/*"):
                if path.name not in named:
                    path.unlink()
        return len(gone)

"""Files in storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An object in storage: its size in bytes and its strong ETag."""

    key: str
    size: int
    etag: str


class Links(Protocol):
    """Addresses in storage itself, for who has no key to it."""

    def to(self, key: str, *, content_type: str) -> str:
        """One that hands out this object to whoever has it, as a file to keep, for some minutes."""

    @property
    def turn(self) -> int:
        """A number that changes before addresses that were made under it are over: until then they may be given again."""


class ArtifactStore(Protocol):
    """Files by key. Every method raises StorageUnavailable where storage does not answer; a write is whole or not there."""

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:
        """Upload one file."""

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/json") -> None:
        """Upload a small object."""

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes start..end (inclusive; to the last where None), in chunks. Raises ArtifactNotFound before the first."""

    def list(self, prefix: str) -> Sequence[Stored]:
        """Every object under the prefix, by key."""

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those already gone are fine."""

    def abort_uploads(self, prefix: str) -> int:
        """Abandon every upload in parts under the prefix that was never completed; returns how many."""

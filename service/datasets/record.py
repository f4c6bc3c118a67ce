"""One version of an uploaded data set. Frozen: the same bytes are the same version, for good."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Self

from service.jobs.errors import DatasetNotFound
from service.spec.content import Content, Flaw, Inspected
from service.spec.verdict import Kept

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION = re.compile(r"[0-9a-f]{8,64}")
"""The SHA-256 of the bytes as uploaded, hex, or enough of its beginning."""


class DatasetState(StrEnum):
    """Each state says who moves it on, and what if they die."""

    VALIDATING = "validating"
    """The bytes are in storage. Any API process looks at them, under a lease; if it dies, another one does."""
    READY = "ready"
    """Jobs may train on it. For good."""
    INVALID = "invalid"
    """It cannot be used, and its flaws say why; its bytes are removed. Sending the same bytes again looks at them again."""


class DatasetVersion(Kept):
    """What is known of one upload. `version` is the SHA-256 of its bytes, hex."""

    project: str = "default"
    name: str
    version: str
    state: DatasetState = DatasetState.VALIDATING
    size: int
    """Bytes as uploaded."""
    created_at: datetime
    settled_at: datetime | None = None
    content: Content | None = None
    flaws: tuple[Flaw, ...] = ()
    more_flaws: int = 0

    @property
    def place(self) -> str:
        """Where its objects lie, below its data set's folder: bytes that were removed and sent again lie elsewhere."""
        return f"{self.version}.{int(self.created_at.timestamp() * 1000):x}"

    def settled(self, found: Inspected, *, at: datetime) -> Self:
        """`validating -> ready | invalid`, by what looking at it showed."""
        state = DatasetState.READY if found.content is not None else DatasetState.INVALID
        return self.model_copy(
            update={"state": state, "settled_at": at, "content": found.content, "flaws": found.flaws, "more_flaws": found.more_flaws}
        )


def folder_key(project: str, name: str, place: str) -> str:
    """The folder of one version in storage; ends with a slash."""
    return f"projects/{project}/datasets/{name}/{place}/"


def key_of(version: DatasetVersion, file: str) -> str:
    """One of its objects: `upload`, the bytes as they came; `sheet.png`; `dataset.json`, the record from which Redis can be rebuilt, written last."""
    return folder_key(version.project, version.name, version.place) + file


def chosen(versions: Sequence[DatasetVersion], name: str, version: str | None) -> DatasetVersion:
    """The one whose digest begins so; the newest that is ready, else the newest, where None. Raises DatasetNotFound."""
    found = [each for each in versions if version is None or each.version.startswith(version)]
    if not found or (version is not None and len(found) > 1):
        raise DatasetNotFound(name, version)
    return max(found, key=lambda each: (each.state is DatasetState.READY, each.created_at))


def in_order(versions: Iterable[DatasetVersion]) -> list[DatasetVersion]:
    """By name, the newest first of each."""
    newest_first = sorted(versions, key=lambda each: each.created_at, reverse=True)
    return sorted(newest_first, key=lambda each: each.name)

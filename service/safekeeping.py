"""Keys, projects and the audit log, kept in storage: written soon after each change, and read back after Redis was lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from service.access.audit import AuditLog, Told, place
from service.access.keys import Key, Project
from service.access.layout import ACCESS_PREFIX, AUDIT_PREFIX, audit_piece, key_record, project_record
from service.access.ports import Safekeeping
from service.jobs.ports import ArtifactStore

log = logging.getLogger("trainyard")

AT_ONCE = 100
ENTRIES_AT_ONCE = 5000
WORTH_A_PIECE = 500
"""Entries that are written at once; fewer wait until the oldest is a minute old: objects should not be tiny."""
AGED = timedelta(minutes=1)


def save_access(*, store: Safekeeping, artifacts: ArtifactStore) -> None:
    """Write the records that changed. Raises StorageUnavailable; what is not written is tried again by the next round."""
    for record in store.unsaved_access(AT_ONCE):
        match record:
            case Key():
                artifacts.put_bytes(key_record(record), record.model_dump_json().encode())
            case Project():
                artifacts.put_bytes(project_record(record.name), record.model_dump_json().encode())
            case _:
                artifacts.delete([project_record(record)])
        store.saved_access(record)


def restore_access(*, store: Safekeeping, artifacts: ArtifactStore) -> int:
    """Put back what storage has and the store lacks; how many. A key comes back in its last version: one that was revoked, revoked."""
    newest: dict[str, tuple[int, str]] = {}
    projects = []
    for stored in artifacts.list(ACCESS_PREFIX):
        match stored.key.split("/"):
            case [_, "keys", key_id, file] if (version := file.removesuffix(".json")).isdecimal():
                newest[key_id] = max(newest.get(key_id, (0, "")), (int(version), stored.key))
            case [_, "projects", _]:
                projects.append(stored.key)
    wanted: list[tuple[type[Key | Project], str]] = [(Project, key) for key in projects] + [(Key, key) for _, key in newest.values()]
    return sum(store.restore_access(record) for record in _records(wanted, artifacts))


def _records(wanted: Iterable[tuple[type[Key | Project], str]], artifacts: ArtifactStore) -> Iterator[Key | Project]:
    for kind, key in wanted:
        try:
            yield kind.model_validate_json(_read(key, artifacts))
        except ValidationError:  # an older version would say less than this one did
            log.warning("%s cannot be read: that key or project is not restored", key)


def save_audit(*, audit: AuditLog, artifacts: ArtifactStore, now: datetime) -> None:
    """Write what storage does not have of the log, where it is worth an object: by days, each piece once."""
    waiting = audit.unsaved_audit(ENTRIES_AT_ONCE)
    if not waiting or (len(waiting) < WORTH_A_PIECE and now - waiting[0].at < AGED):
        return
    for day, entries in _by_day(waiting):
        lines = "".join(f"{each.model_dump_json()}\n" for each in entries)
        artifacts.put_bytes(audit_piece(day, entries[0].id, entries[-1].id), lines.encode(), content_type="application/jsonl")
    audit.saved_audit(waiting[-1].id)


def _by_day(entries: Sequence[Told]) -> Iterator[tuple[str, list[Told]]]:
    """By the day that their ids tell, in their order."""
    days: dict[str, list[Told]] = {}
    for entry in entries:
        day = datetime.fromtimestamp(place(entry.id)[0] / 1000, UTC).strftime("%Y-%m-%d")
        days.setdefault(day, []).append(entry)
    yield from days.items()


def stored_audit(before: str | None, *, artifacts: ArtifactStore) -> Iterator[Told]:
    """What storage has of the log before an id, the newest first, each entry once."""
    end = place(before) if before else None
    pieces = sorted((_span(stored.key), stored.key) for stored in artifacts.list(AUDIT_PREFIX))
    for (_, first, _), key in sorted(pieces, key=lambda piece: piece[0][2], reverse=True):
        if end is not None and first >= end:
            continue
        for line in reversed(_read(key, artifacts).splitlines()):
            entry = Told.model_validate_json(line)
            if end is None or place(entry.id) < end:
                end = place(entry.id)
                yield entry


def _span(key: str) -> tuple[str, tuple[int, int], tuple[int, int]]:
    """A piece's day, and its first and last place."""
    _, day, file = key.split("/")
    first, _, last = file.removesuffix(".jsonl").partition("_")
    return day, place(first), place(last)


def _read(key: str, artifacts: ArtifactStore) -> bytes:
    return b"".join(artifacts.open(key))

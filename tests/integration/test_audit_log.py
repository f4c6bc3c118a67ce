"""The audit log: written beside requests, kept in storage in pieces, read back from both. One body of tests for Redis and for its twin."""

from __future__ import annotations

from datetime import timedelta

import pytest

from service.access.audit import Entry, Told
from service.access.layout import AUDIT_PREFIX
from service.adapters import memory
from service.adapters.memory import MemoryArtifacts
from service.adapters.stores import Stores
from service.api.auditing import MOST_ALIKE, Recorder
from service.jobs.errors import StoreUnavailable
from service.safekeeping import WORTH_A_PIECE, save_audit, stored_audit
from service.use_cases.access import Access, read_audit
from tests.integration.conftest import Clock


def entry(clock: Clock, number: int = 0, outcome: int = 202, **others: object) -> Entry:
    told = {"at": clock.now(), "key_id": "k", "project": "red", "action": "POST /v1/jobs", "object": f"job-{number}", "outcome": outcome}
    return Entry.model_validate({**told, "address": "10.0.0.1", "request_id": "r"} | others)


def plain(entries: list[Told]) -> list[str | None]:
    return [each.object for each in entries]


def test_the_newest_come_first_and_a_cursor_goes_on(stores: Stores, clock: Clock) -> None:
    stores.audit.append([entry(clock, number) for number in range(5)])

    newest = list(stores.audit.before(None, limit=2))

    assert plain(newest) == ["job-4", "job-3"]
    assert plain(list(stores.audit.before(newest[-1].id, limit=9))) == ["job-2", "job-1", "job-0"]
    assert stores.audit.unsaved_audit(9)[0].model_dump(exclude={"id"}) == entry(clock, 0).model_dump()


def test_few_wait_to_be_saved_and_many_do_not(stores: Stores, clock: Clock) -> None:
    """An object for each entry would be tiny; one that waited for a minute goes all the same."""
    artifacts = MemoryArtifacts()
    stores.audit.append([entry(clock)])

    save_audit(audit=stores.audit, artifacts=artifacts, now=clock.now())
    assert artifacts.list(AUDIT_PREFIX) == []
    save_audit(audit=stores.audit, artifacts=artifacts, now=clock.now() + timedelta(minutes=1))
    assert len(artifacts.list(AUDIT_PREFIX)) == 1
    stores.audit.append([entry(clock, number) for number in range(WORTH_A_PIECE)])
    save_audit(audit=stores.audit, artifacts=artifacts, now=clock.now())

    assert len(artifacts.list(AUDIT_PREFIX)) == 2
    assert stores.audit.unsaved_audit(9) == []
    assert plain(list(stored_audit(None, artifacts=artifacts)))[:2] == [f"job-{WORTH_A_PIECE - 1}", f"job-{WORTH_A_PIECE - 2}"]


def test_what_is_saved_never_goes_back(stores: Stores, clock: Clock) -> None:
    """A slow sweeper that saved less does not have the rest saved again."""
    stores.audit.append([entry(clock, number) for number in range(3)])
    first, _, last = stores.audit.unsaved_audit(9)

    stores.audit.saved_audit(last.id)
    stores.audit.saved_audit(first.id)

    assert stores.audit.unsaved_audit(9) == []


def test_two_sweepers_at_once_save_each_entry_once_for_who_reads(stores: Stores, clock: Clock) -> None:
    artifacts = MemoryArtifacts()
    later = clock.now() + timedelta(hours=1)
    stores.audit.append([entry(clock, number) for number in range(3)])

    class Slow:
        """Read before the other one wrote, and saves after."""

        def __init__(self) -> None:
            self.seen = stores.audit.unsaved_audit(2)

        def unsaved_audit(self, _: int) -> list[Told]:
            return list(self.seen)

        def saved_audit(self, id: str) -> None:
            stores.audit.saved_audit(id)

    slow = Slow()
    save_audit(audit=stores.audit, artifacts=artifacts, now=later)
    save_audit(audit=slow, artifacts=artifacts, now=later)  # type: ignore[arg-type]  # as much of a log as is asked for

    assert plain(list(stored_audit(None, artifacts=artifacts))) == ["job-2", "job-1", "job-0"]


def test_what_the_store_lost_is_read_from_storage(stores: Stores, clock: Clock) -> None:
    artifacts = MemoryArtifacts()
    access = Access(store=stores.access, audit=stores.audit, accounts=stores.accounts, artifacts=artifacts, now=clock.now)
    stores.audit.append([entry(clock, number, outcome=401 if number % 2 else 202) for number in range(6)])
    save_audit(audit=stores.audit, artifacts=artifacts, now=clock.now() + timedelta(hours=1))
    lost = Access(
        store=stores.access, audit=memory.stores(now=clock.now).audit, accounts=stores.accounts, artifacts=artifacts, now=clock.now
    )

    for each in (access, lost):
        page = read_audit(before=None, limit=2, wanted=lambda entry: entry.outcome == 401, access=each)
        rest = read_audit(before=page.next_cursor, limit=9, wanted=lambda entry: entry.outcome == 401, access=each)
        assert (plain(list(page.entries)), plain(list(rest.entries)), rest.next_cursor) == (["job-5", "job-3"], ["job-1"], None)


def test_refusals_that_are_alike_are_counted(stores: Stores, clock: Clock) -> None:
    """The first is told at once, the rest of its minute as one; nobody fills the log by asking."""
    recorder = Recorder(stores.audit, now=clock.now)
    for _ in range(500):
        recorder.note(entry(clock, outcome=401, object=None))
    recorder.note(entry(clock, outcome=401, address="10.0.0.2"))

    recorder.flush()
    assert [(each.address, each.times) for each in stores.audit.before(None, limit=9)] == [("10.0.0.2", 1), ("10.0.0.1", 1)]
    clock.pass_by(60)
    recorder.flush()
    recorder.flush()

    assert [(each.address, each.times) for each in stores.audit.before(None, limit=9)] == [
        ("10.0.0.1", 499),
        ("10.0.0.2", 1),
        ("10.0.0.1", 1),
    ]


def test_refusals_of_too_many_kinds_are_one_kind(stores: Stores, clock: Clock) -> None:
    recorder = Recorder(stores.audit, now=clock.now)
    for number in range(2 * MOST_ALIKE):
        recorder.note(entry(clock, outcome=403, address=f"10.0.{number // 256}.{number % 256}"))

    recorder.flush()

    assert len(stores.audit.before(None, limit=5 * MOST_ALIKE)) == MOST_ALIKE + 1


def test_what_cannot_be_written_waits(clock: Clock) -> None:
    log = memory.stores(now=clock.now).audit

    class Away:
        def append(self, _: object) -> None:
            raise StoreUnavailable("away")

    recorder = Recorder(Away(), now=clock.now)  # type: ignore[arg-type]  # nothing else is asked of it
    recorder.note(entry(clock))
    with pytest.raises(StoreUnavailable):
        recorder.flush()
    recorder.log = log
    recorder.flush()

    assert len(log.before(None, limit=9)) == 1

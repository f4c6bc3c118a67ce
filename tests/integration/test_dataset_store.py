"""Records of uploaded data sets, in Redis and in its twin: put, looked at once at a time, settled once, removed only when nobody needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service import use_cases
from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.stores import Stores
from service.datasets.ports import Look
from service.datasets.record import DatasetState, DatasetVersion, key_of
from service.jobs.errors import DatasetInUse, DatasetNotFound, Unavailable
from service.jobs.job import Job
from service.jobs.ports import Outcome
from service.rebuilding import rebuild
from service.spec.content import Content, Flaw, Inspected
from tests.integration.conftest import Clock
from tests.services import TemporarySpool, services_of

NewJob = Callable[..., Job]
GOOD = Inspected(content=Content(layout="arrays", samples="numbers", shape=(4,), labels="class", classes=("a", "b"), sizes={"train": 6}))
BAD = Inspected(flaws=(Flaw(entry="x.png", code="not_an_image", detail="It cannot be read."),))


@pytest.fixture
def new_version(clock: Clock) -> Callable[..., DatasetVersion]:
    def make(digit: str = "a", **facts: Any) -> DatasetVersion:
        return DatasetVersion(**{"name": "pets", "version": digit * 64, "size": 10, "created_at": clock.now(), **facts})

    return make


def test_the_same_bytes_are_the_same_version(stores: Stores, clock: Clock, new_version) -> None:
    first = stores.datasets.put(new_version())
    clock.pass_by(5)

    assert stores.datasets.put(new_version()) == first
    assert stores.datasets.list("default") == [first]
    assert stores.datasets.list("another") == []


def test_one_looks_at_a_time_and_another_one_after_silence(stores: Stores, clock: Clock, new_version) -> None:
    version = stores.datasets.put(new_version())

    assert stores.datasets.take(seconds=60) == version
    assert stores.datasets.take(seconds=60) is None
    clock.pass_by(50)
    stores.datasets.hold(version, seconds=60)
    clock.pass_by(50)
    assert stores.datasets.take(seconds=60) is None
    clock.pass_by(15)
    assert stores.datasets.take(seconds=60) == version


def test_what_is_settled_stays_so(stores: Stores, clock: Clock, new_version) -> None:
    version = stores.datasets.put(new_version())
    ready = version.settled(GOOD, at=clock.now())

    assert stores.datasets.settle(ready)
    assert not stores.datasets.settle(version.settled(BAD, at=clock.now()))
    assert stores.datasets.find("default", "pets") == ready
    assert stores.datasets.take(seconds=60) is None
    assert stores.datasets.removed(10) == []


def test_an_invalid_one_is_looked_at_again_when_it_is_sent_again(stores: Stores, clock: Clock, new_version) -> None:
    version = stores.datasets.put(new_version())
    stores.datasets.settle(version.settled(BAD, at=clock.now()))
    assert stores.datasets.removed(10) == [("default", "pets", version.place)]
    clock.pass_by(1)

    again = stores.datasets.put(new_version())

    assert again.state is DatasetState.VALIDATING
    assert again.place != version.place
    assert stores.datasets.take(seconds=60) == again


def test_the_newest_that_is_ready_is_found_by_name(stores: Stores, clock: Clock, new_version) -> None:
    ready = stores.datasets.put(new_version("a"))
    ready = ready.settled(GOOD, at=clock.now())
    stores.datasets.settle(ready)
    clock.pass_by(1)
    newer = stores.datasets.put(new_version("b"))

    assert stores.datasets.find("default", "pets") == ready
    assert stores.datasets.find("default", "pets", "b" * 8) == newer
    assert [each.version[0] for each in stores.datasets.list("default")] == ["b", "a"]
    for name, version in (("cats", None), ("pets", "c" * 64)):
        with pytest.raises(DatasetNotFound):
            stores.datasets.find("default", name, version)


def needing(job: Job, version: DatasetVersion) -> Job:
    spec = {"dataset": {"type": "Upload", "name": version.name, "version": version.version}}
    return job.model_copy(update={"resolved_spec": {**(job.resolved_spec or {}), **spec}})


def test_it_stays_while_a_job_needs_it(stores: Stores, new_version, new_job: NewJob) -> None:
    version = stores.datasets.put(new_version())
    stores.jobs.submit(needing(new_job(), version), idempotency=None)
    claim = stores.attempts.claim(worker="w", device="cpu")
    assert claim is not None

    with pytest.raises(DatasetInUse, match=claim.job.id):
        stores.datasets.remove(version)
    stores.attempts.finish(claim, Outcome(kind="succeeded"))
    stores.datasets.remove(version)

    with pytest.raises(DatasetNotFound):
        stores.datasets.remove(version)
    with pytest.raises(DatasetNotFound):
        stores.jobs.submit(needing(new_job(), version), idempotency=None)


def test_what_goes_leaves_nothing_in_storage_and_what_is_ready_is_rebuilt(stores: Stores, clock: Clock, new_version) -> None:
    artifacts = MemoryArtifacts()
    ready, gone = (new_version(digit).settled(GOOD, at=clock.now()) for digit in "ab")
    for each in (ready, gone):
        stores.datasets.put(each)
        for file in ("upload", "sheet.png", "dataset.json"):
            artifacts.put_bytes(key_of(each, file), each.model_dump_json().encode())

    stores.datasets.remove(gone)
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()

    assert {stored.key for stored in artifacts.list("")} == {key_of(ready, file) for file in ("upload", "sheet.png", "dataset.json")}
    assert stores.datasets.removed(10) == []
    assert rebuild(artifacts=artifacts, rebuilding=stores.rebuilding, datasets=stores.datasets, access=stores.access).known == 1
    stores.datasets.remove(ready)
    assert rebuild(artifacts=artifacts, rebuilding=stores.rebuilding, datasets=stores.datasets, access=stores.access).restored == 1
    assert stores.datasets.find("default", "pets") == ready


def test_looking_settles_and_keeps_the_record(stores: Stores, clock: Clock) -> None:
    class Inspector:
        def look(self, upload, scratch, *, alive):
            alive()
            assert list(scratch.iterdir()) == []
            return Look(found=GOOD if upload.read_bytes() == b"good" else BAD, sheet=b"png")

    artifacts = MemoryArtifacts()
    services = services_of(stores, artifacts=artifacts, inspector=Inspector(), now=clock.now)
    taken = []
    for name, data in (("good", b"good"), ("bad", b"bad")):
        with services.spool.file() as path:
            path.write_bytes(data)
            received = use_cases.Received(path=path, size=len(data), sha256=name[0] * 64)
            taken.append(use_cases.take_in(received, project="default", name=name, expected=None, services=services))
    assert [each.state for each in taken] == ["validating", "validating"]

    assert use_cases.look_at_one(services)
    assert use_cases.look_at_one(services)
    assert not use_cases.look_at_one(services)

    good, bad = (use_cases.find_dataset("default", name, None, services=services) for name in ("good", "bad"))
    assert (good.state, good.content) == ("ready", GOOD.content)
    assert (bad.state, bad.flaws) == ("invalid", BAD.flaws)
    assert DatasetVersion.model_validate_json(b"".join(artifacts.open(key_of(good, "dataset.json")))) == good
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()
    assert {stored.key for stored in artifacts.list("")} == {key_of(good, file) for file in ("upload", "sheet.png", "dataset.json")}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no disk that is always full")
def test_an_upload_that_there_is_no_room_to_look_at_is_looked_at_later(stores: Stores, clock: Clock, new_version) -> None:
    class Inspector:
        def look(self, _, __, *, alive):
            alive()
            return Look(found=GOOD)

    class FullSpool(TemporarySpool):
        @contextmanager
        def file(self) -> Iterator[Path]:
            yield Path("/dev/full")

    artifacts, version = MemoryArtifacts(), new_version("a")
    artifacts.put_bytes(key_of(version, "upload"), b"data")
    stores.datasets.put(version)
    services = services_of(stores, artifacts=artifacts, inspector=Inspector(), now=clock.now)

    with pytest.raises(Unavailable, match="no room to look at pets"):
        use_cases.look_at_one(replace(services, spool=FullSpool()))
    clock.pass_by(61)

    assert use_cases.look_at_one(services)
    assert stores.datasets.find("default", "pets").state == "ready"

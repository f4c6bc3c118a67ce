"""Backups of a real Valkey and a real S3: what is in them, what is copied, what is found in them, and where they may be put back."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from service.adapters import redis_jobs
from service.adapters.memory import MemoryDoorbell
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.stores import Stores
from service.backups.making import RESTORING, Made, Source, make
from service.backups.restoring import Restored, Target, damaged, restore
from service.backups.shelf import BackupFault, Shelf
from service.datasets.record import DatasetState, DatasetVersion, key_of
from service.jobs.errors import StorageUnavailable
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import checkpoint_prefix, record_key
from service.jobs.ports import Claim, Idempotency, Stored
from service.jobs.state import JobState
from service.settings import StoreSettings
from tests.e2e.stack import ROOT, until
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit
from tests.servers import S3Server


class Interposed(S3Artifacts):
    """Real storage, where something may happen before an object is read or written."""

    before_open: Callable[[str], None] = staticmethod(lambda _: None)
    before_put: Callable[[str], None] = staticmethod(lambda _: None)
    before_list: Callable[[str], None] = staticmethod(lambda _: None)

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.before_open(key)
        return super().open(key, start=start, end=end)

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:
        self.before_put(key)
        super().put_file(key, path, content_type=content_type)

    def list(self, prefix: str) -> list[Stored]:
        self.before_list(prefix)
        return list(super().list(prefix))


@pytest.fixture
def artifacts(s3: S3Server) -> Interposed:
    """An empty bucket."""
    found = Interposed(
        StoreSettings(
            s3_endpoint_url=s3.endpoint_url, aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key, s3_bucket="backups"
        )
    )
    found.ensure_bucket()
    found.delete([stored.key for stored in found.list("")])
    return found


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "backups")


@pytest.fixture
def real_stores(redis_url: str) -> Iterator[Stores]:
    """On Valkey's own clock."""
    stores = redis_jobs.connect(redis_url)
    yield stores
    stores.close()


def source(stores: Stores, artifacts: Interposed) -> Source:
    sweeper = stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell())

    def sweep() -> None:
        sweeper.dispose()
        sweeper.save()

    return Source(artifacts=artifacts, monitor=stores.monitor, rebuilding=stores.rebuilding, datasets=stores.datasets, sweep=sweep)


def back_up(shelf: Shelf, stores: Stores, artifacts: Interposed) -> Made:
    return make(shelf, source(stores, artifacts))


def put_back(shelf: Shelf, stores: Stores, artifacts: Interposed, **options: object) -> Restored:
    return restore(
        shelf, Target(artifacts=artifacts, rebuilding=stores.rebuilding, datasets=stores.datasets, access=stores.access), **options
    )


def wipe(redis_url: str, artifacts: Interposed) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    artifacts.delete([stored.key for stored in artifacts.list("")])


def checkpoint(stores: Stores, artifacts: Interposed, held: Claim, step: int, *, weights: bytes = b"weights") -> str:
    """Commit one as a worker does: files, manifest, pointer, and what is kept no more removed. Its prefix."""
    prefix = checkpoint_prefix(held.job.project, held.job.id, held.token, step)
    artifacts.put_bytes(f"{prefix}model.safetensors", weights + str(step).encode())
    file = {"path": "model.safetensors", "size": len(weights + str(step).encode()), "sha256": sha256(weights + str(step).encode())}
    manifest = {"epoch": 0, "step": step, "token": held.token, "files": [file]}
    artifacts.put_bytes(f"{prefix}manifest.json", json.dumps(manifest).encode())
    pointer = CheckpointPointer(token=held.token, epoch=0, step=step, prefix=prefix)
    for dropped in stores.attempts.checkpoint(held, pointer, keep=1):
        artifacts.delete([stored.key for stored in S3Artifacts.list(artifacts, dropped.prefix)])
    return prefix


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_all_comes_back_into_an_empty_installation(
    shelf: Shelf, real_stores: Stores, artifacts: Interposed, redis_url: str, new_job: NewJob
) -> None:
    """Ended, running, waiting and paused jobs, a data set that nobody has looked at yet, and the keys under which jobs were submitted."""
    stores = real_stores
    ended, running, waiting, paused = (submit(stores, new_job(), key=f"k:{at}") for at in range(4))
    stores.attempts.finish(claim(stores), SUCCEEDED)
    prefix = checkpoint(stores, artifacts, claim(stores), 5)
    stores.requests.pause("default", paused.id)
    upload = DatasetVersion(name="flowers", version="ab" * 32, size=3, created_at=ended.created_at)
    artifacts.put_bytes(key_of(upload, "upload"), b"zip")
    stores.datasets.put(upload)

    made = back_up(shelf, stores, artifacts)
    wipe(redis_url, artifacts)
    done = put_back(shelf, stores, artifacts)

    assert (made.torn, done.damaged, done.rebuilt.unreadable, done.rebuilt.restored) == ([], [], [], 4)
    found = {job.id: stores.jobs.find("default", job.id) for job in (ended, running, waiting, paused)}
    assert [job.state for job in found.values()] == [JobState.SUCCEEDED, JobState.QUEUED, JobState.QUEUED, JobState.PAUSED]
    assert found[running.id].checkpoint.prefix == prefix
    assert b"".join(artifacts.open(f"{prefix}model.safetensors")) == b"weights5"
    again = stores.jobs.submit(new_job(), idempotency=Idempotency(key="k:2", body_sha256="b" * 64))
    assert (again.replayed, again.job.id) == (True, waiting.id)
    assert stores.datasets.find("default", "flowers").state is DatasetState.VALIDATING
    assert stores.datasets.take(seconds=1) == upload
    assert RESTORING not in {stored.key for stored in artifacts.list("")}


def test_what_an_earlier_backup_has_is_not_copied_again(
    shelf: Shelf, real_stores: Stores, artifacts: Interposed, redis_url: str, new_job: NewJob
) -> None:
    """Only what is new, or was changed, is read; each backup is whole by itself, and those that are kept no more leave nothing."""
    stores = real_stores
    submit(stores, new_job())
    held = claim(stores)
    checkpoint(stores, artifacts, held, 1)
    first = back_up(shelf, stores, artifacts)
    read = list[str]()
    artifacts.before_open = read.append
    again = back_up(shelf, stores, artifacts)
    assert (again.copied, read) == (0, [])

    checkpoint(stores, artifacts, held, 2)
    third = back_up(shelf, stores, artifacts)

    record = record_key("default", held.job.id)
    assert len(set(read)) == len(read) == third.copied == 3
    assert record in read
    assert first.snapshot.entries[record] != third.snapshot.entries[record]
    assert shelf.keep(1) == 2
    assert shelf.names() == [third.snapshot.name]
    assert len(list((shelf.folder / "objects").glob("*/*"))) == len({entry.sha256 for entry in third.snapshot.entries.values()})
    wipe(redis_url, artifacts)
    assert put_back(shelf, stores, artifacts).rebuilt.restored == 1


def test_a_backup_that_is_cut_off_leaves_the_one_before_and_goes_on(
    shelf: Shelf, real_stores: Stores, artifacts: Interposed, new_job: NewJob
) -> None:
    """Nothing half-written counts; the second try copies only what the first had not."""
    stores = real_stores
    for step in range(40):
        submit(stores, new_job())
        checkpoint(stores, artifacts, claim(stores), step)
    count = 0

    def dies(_: str) -> None:
        nonlocal count
        count += 1
        if count > 60:
            raise StorageUnavailable("away")

    artifacts.before_open = dies
    with pytest.raises(StorageUnavailable):
        back_up(shelf, stores, artifacts)
    assert shelf.names() == []
    with pytest.raises(BackupFault, match="has no backup"):
        put_back(shelf, stores, artifacts)
    with (shelf.folder / "copied.jsonl").open("a") as journal:
        journal.write('{"key": "projects/torn')

    artifacts.before_open = lambda _: None
    made = back_up(shelf, stores, artifacts)

    assert len(made.snapshot.entries) == 120
    assert made.copied <= 120 - 60
    assert damaged(shelf, shelf.names()) == {made.snapshot.name: []}
    assert not (shelf.folder / "copied.jsonl").exists()
    assert list((shelf.folder / "coming").iterdir()) == []


def test_a_backup_that_is_killed_goes_on(shelf: Shelf, artifacts: Interposed, s3: S3Server, redis_url: str) -> None:
    """The command itself, killed in the midst of its work: the next one is whole, and copies less."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: artifacts.put_bytes(f"datasets/{at:04}", str(at).encode() * 1000), range(1500)))
    environment = {**os.environ, **s3.environment(), "S3_BUCKET": "backups", "REDIS_URL": redis_url}
    command = [sys.executable, "-m", "service.backup", str(shelf.folder)]
    journal = shelf.folder / "copied.jsonl"
    with subprocess.Popen(command, cwd=ROOT, env=environment) as killed:
        until(lambda: (journal.exists() and journal.read_bytes().count(b"\n") > 50) or killed.poll() is not None, seconds=60)
        killed.kill()
    assert shelf.names() == []

    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    told = re.search(r": (\d+) object\(s\), (\d+) of them new", again.stdout)
    assert told is not None
    assert int(told[1]) == 1500
    assert int(told[2]) <= 1450
    assert damaged(shelf, shelf.names()) == {shelf.names()[0]: []}


def test_a_job_that_moves_on_while_it_is_read_is_read_again(
    shelf: Shelf, real_stores: Stores, artifacts: Interposed, new_job: NewJob
) -> None:
    """Its checkpoint is replaced after its record was read, twice: what is kept is whole, and of one time."""
    stores = real_stores
    job = submit(stores, new_job())
    held = claim(stores)
    checkpoint(stores, artifacts, held, 1)
    lists, step = 0, 1

    def moves_on(_: str) -> None:
        nonlocal lists, step
        lists += 1
        if lists in (2, 4):  # between what names and what is named
            step += 1
            checkpoint(stores, artifacts, held, step)

    artifacts.before_list = moves_on
    made = back_up(shelf, stores, artifacts)

    assert (step, lists) == (3, 6)
    assert made.torn == []
    record = json.loads(shelf.read(made.snapshot.entries[record_key("default", job.id)]))
    (pointer,) = record["checkpoints"]
    assert {f"{pointer['prefix']}{name}" for name in ("manifest.json", "model.safetensors")} <= made.snapshot.entries.keys()


def test_a_job_that_is_deleted_meanwhile_is_not_in_it(shelf: Shelf, real_stores: Stores, artifacts: Interposed, new_job: NewJob) -> None:
    """Neither its record nor half of its files."""
    stores = real_stores
    kept, gone = submit(stores, new_job()), submit(stores, new_job())
    lists = 0

    def deletes(_: str) -> None:
        nonlocal lists
        lists += 1
        if lists == 2:
            artifacts.delete([record_key("default", gone.id)])

    artifacts.before_list = deletes
    made = back_up(shelf, stores, artifacts)

    assert list(made.snapshot.entries) == [record_key("default", kept.id)]


def test_a_job_that_was_deleted_just_before_stays_gone(shelf: Shelf, real_stores: Stores, artifacts: Interposed, new_job: NewJob) -> None:
    """Though no sweeper had come to remove its record from storage."""
    job = submit(real_stores, new_job())
    real_stores.requests.cancel("default", job.id)
    source(real_stores, artifacts).sweep()
    real_stores.requests.delete("default", job.id)
    assert record_key("default", job.id) in {stored.key for stored in artifacts.list("")}

    assert back_up(shelf, real_stores, artifacts).snapshot.entries == {}


def test_an_object_that_is_damaged_in_storage_is_left_out_and_told(
    shelf: Shelf, real_stores: Stores, artifacts: Interposed, new_job: NewJob
) -> None:
    """A manifest says what its files were; a checkpoint that is not so any more is none."""
    submit(real_stores, new_job())
    prefix = checkpoint(real_stores, artifacts, claim(real_stores), 1)
    artifacts.put_bytes(f"{prefix}model.safetensors", b"weightsX")

    made = back_up(shelf, real_stores, artifacts)

    assert made.torn == [f"{prefix}manifest.json"]
    assert f"{prefix}manifest.json" not in made.snapshot.entries


def test_a_flipped_byte_is_found_and_not_put_back(
    shelf: Shelf, real_stores: Stores, artifacts: Interposed, redis_url: str, new_job: NewJob
) -> None:
    """By --verify, by restore, and in the list of objects itself; the rest comes back."""
    job = submit(real_stores, new_job())
    prefix = checkpoint(real_stores, artifacts, claim(real_stores), 1)
    made = back_up(shelf, real_stores, artifacts)
    key = f"{prefix}model.safetensors"
    file = shelf.path(made.snapshot.entries[key].sha256)
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])

    assert damaged(shelf, shelf.names()) == {made.snapshot.name: [key]}
    wipe(redis_url, artifacts)
    done = put_back(shelf, real_stores, artifacts)
    assert (done.damaged, done.rebuilt.restored) == ([key], 1)
    assert real_stores.jobs.find("default", job.id).state is JobState.QUEUED

    index = shelf.folder / "snapshots" / f"{made.snapshot.name}.jsonl"
    index.write_bytes(index.read_bytes().replace(b'"size": 8', b'"size": 9', 1))
    with pytest.raises(BackupFault, match=r"is damaged\. Take an older backup"):
        shelf.open()


def test_a_restore_that_is_cut_off_goes_on(
    shelf: Shelf, real_stores: Stores, artifacts: Interposed, redis_url: str, new_job: NewJob
) -> None:
    """Asked again, it puts back what is missing, and refuses nothing."""
    for step in range(20):
        submit(real_stores, new_job())
        checkpoint(real_stores, artifacts, claim(real_stores), step)
    back_up(shelf, real_stores, artifacts)
    wipe(redis_url, artifacts)
    count = 0

    def dies(_: str) -> None:
        nonlocal count
        count += 1
        if count > 25:
            raise StorageUnavailable("away")

    artifacts.before_put = dies
    with pytest.raises(StorageUnavailable):
        put_back(shelf, real_stores, artifacts)
    assert real_stores.rebuilding.is_empty()
    artifacts.before_put = lambda _: None

    done = put_back(shelf, real_stores, artifacts)

    assert done.rebuilt.restored == 20
    assert done.objects <= 60 - 25
    assert len(artifacts.list("")) == 60


def test_an_installation_that_is_not_empty_is_refused_unless_told(
    shelf: Shelf, real_stores: Stores, artifacts: Interposed, redis_url: str, new_job: NewJob
) -> None:
    """Where objects are, and where only Redis has something; told so, what is there besides stays."""
    mine = submit(real_stores, new_job())
    back_up(shelf, real_stores, artifacts)
    with pytest.raises(BackupFault, match=r"not empty.*--force"):
        put_back(shelf, real_stores, artifacts)
    wipe(redis_url, artifacts)
    other: Job = submit(real_stores, new_job())
    with pytest.raises(BackupFault, match="not empty"):
        put_back(shelf, real_stores, artifacts)

    assert put_back(shelf, real_stores, artifacts, force=True).rebuilt.restored == 1

    assert {real_stores.jobs.find("default", job.id).id for job in (mine, other)} == {mine.id, other.id}


def test_a_folder_of_somebody_elses_is_not_written_to(shelf: Shelf, real_stores: Stores, artifacts: Interposed) -> None:
    """Nor one that another backup is being made in."""
    shelf.folder.mkdir()
    (shelf.folder / "photo.png").touch()
    with pytest.raises(BackupFault, match="no folder of backups"):
        back_up(shelf, real_stores, artifacts)
    (shelf.folder / "photo.png").unlink()
    with shelf.locked(), pytest.raises(BackupFault, match="Another backup is being made"):
        back_up(Shelf(shelf.folder), real_stores, artifacts)

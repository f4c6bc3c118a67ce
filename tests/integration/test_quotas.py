"""What a project may have at most: on both stores, and with fifty who ask at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service import use_cases
from service.access.errors import ProjectChanged, ProjectNotFound
from service.access.keys import Project
from service.access.quota import RESERVED, Quota, QuotaExceeded, Usage, of_dataset, of_job
from service.adapters import memory, redis_jobs
from service.adapters.memory import MemoryArtifacts, MemoryDoorbell
from service.adapters.stores import Stores
from service.datasets.record import DatasetVersion, key_of
from service.jobs.errors import StorageUnavailable
from service.jobs.job import CheckpointPointer
from service.jobs.layout import artifacts_prefix, checkpoint_prefix
from service.jobs.ports import Claim, Outcome
from service.jobs.state import JobState, Reason
from service.rebuilding import rebuild
from service.use_cases import Received
from tests.integration.conftest import LEASE, Clock
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit
from tests.services import services_of

AT_ONCE = 50
RED = "red"
PAUSED = Outcome(kind="give_back", counts=False, reason=Reason.DRAINED)


@pytest.fixture
def red(stores: Stores, clock: Clock) -> Callable[..., None]:
    """Makes the red project, and says what it may have."""
    stores.access.make(Project(name=RED, created_at=clock.now()))

    def limit(**quota: float) -> None:
        stores.access.change(stores.access.project(RED).limited(Quota(**quota)))

    return limit


def at_once(ask: Callable[[int], Any]) -> Sequence[Any]:
    """What fifty are answered, or refused with."""

    def asked(number: int) -> Any:
        try:
            return ask(number)
        except QuotaExceeded as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(asked, range(AT_ONCE)))


def refused(answers: Sequence[Any]) -> int:
    """How many."""
    return sum(isinstance(each, QuotaExceeded) for each in answers)


def gpu(stores: Stores, *, free: int = 8) -> Claim | None:
    """The best job for a GPU worker."""
    return stores.attempts.claim(worker="g", device="gpu", free_gpus=free, most_gpus=8)


def test_of_fifty_who_submit_at_once_just_so_many_are_taken_in(stores: Stores, new_job: NewJob, red: Any) -> None:
    red(queued=20)
    jobs = [new_job(project=RED) for _ in range(AT_ONCE)]

    answers = at_once(lambda number: stores.jobs.submit(jobs[number], idempotency=None))

    assert refused(answers) == AT_ONCE - 20
    assert stores.accounts.usage(RED).queued == 20
    assert stores.jobs.counts(RED)[JobState.QUEUED] == 20


def test_of_fifty_workers_just_so_many_get_a_job(stores: Stores, new_job: NewJob, red: Any) -> None:
    red(running=7)
    for _ in range(AT_ONCE):
        submit(stores, new_job(project=RED))

    answers = at_once(lambda number: stores.attempts.claim(worker=f"w{number}", device="cpu"))

    assert sum(each is not None for each in answers) == 7
    assert stores.accounts.usage(RED) == Usage(7, AT_ONCE - 7, 0, RESERVED * 0)


def test_of_fifty_uploads_just_so_many_find_room(stores: Stores, red: Any) -> None:
    red(stored_bytes=1049)

    answers = at_once(lambda number: stores.accounts.reserve(RED, of_dataset("a", str(number)), 100))

    assert refused(answers) == AT_ONCE - 10
    assert (stores.accounts.usage(RED).stored_bytes, stores.accounts.room(RED)) == (1000, 49)


def test_a_quota_is_the_projects_own_and_says_what_would_help(stores: Stores, new_job: NewJob, red: Any) -> None:
    red(queued=1)
    submit(stores, new_job(project=RED))

    with pytest.raises(QuotaExceeded, match=r"^This project has 1 of 1 jobs that may wait\. Wait .*, or ask an admin for more\.$"):
        submit(stores, new_job(project=RED))
    submit(stores, new_job(project="default"))


def test_what_was_accepted_is_answered_again_however_full_the_queue(stores: Stores, new_job: NewJob, red: Any) -> None:
    """Neither a repeated request nor the retry that already lives is a job more."""
    first = submit(stores, new_job(project=RED))
    stores.attempts.finish(claim(stores), Outcome(kind="failed", reason=Reason.USER_CODE))
    kept = submit(stores, new_job(project=RED), key="k")
    again = submit(stores, new_job(project=RED, retry_of=first.id))
    red(queued=2)

    assert submit(stores, new_job(project=RED), key="k").id == kept.id
    assert submit(stores, new_job(project=RED, retry_of=first.id)).id == again.id
    with pytest.raises(QuotaExceeded):
        submit(stores, new_job(project=RED), key="another")


def test_a_refused_submit_leaves_nothing(stores: Stores, new_job: NewJob, red: Any) -> None:
    """Its key can be used again, and the job that it was to retry knows of none."""
    red(queued=1)
    source = submit(stores, new_job(project=RED))
    stores.attempts.finish(claim(stores), Outcome(kind="failed", reason=Reason.USER_CODE))
    waiting = submit(stores, new_job(project=RED))
    for job, key in ((new_job(project=RED), "k"), (new_job(project=RED, retry_of=source.id), None)):
        with pytest.raises(QuotaExceeded):
            submit(stores, job, key=key)
    stores.requests.cancel(RED, waiting.id)

    assert submit(stores, new_job(project=RED), key="k").state is JobState.QUEUED
    stores.requests.cancel(RED, stores.jobs.list(RED, limit=1, cursor=None, states=[JobState.QUEUED]).jobs[0].id)
    assert submit(stores, new_job(project=RED, retry_of=source.id)).retry_of == source.id


def test_paused_jobs_wait_too_and_what_is_given_back_is_never_refused(stores: Stores, new_job: NewJob, red: Any) -> None:
    red(queued=1)
    held = submit(stores, new_job(project=RED))
    running = claim(stores)
    paused = submit(stores, new_job(project=RED))
    stores.requests.pause(RED, paused.id)

    with pytest.raises(QuotaExceeded):
        submit(stores, new_job(project=RED))
    assert stores.attempts.finish(running, PAUSED) is JobState.QUEUED
    stores.requests.resume(RED, paused.id)
    assert stores.accounts.usage(RED).queued == 2
    assert stores.jobs.find(RED, held.id).state is JobState.QUEUED


def test_gpu_time_is_that_of_every_gpu_up_to_the_last_sign_of_life(stores: Stores, clock: Clock, new_job: NewJob) -> None:
    submit(stores, new_job(device="gpu", resolved_spec={"resources": {"gpus": 4}}))
    held = gpu(stores)
    assert held is not None
    clock.pass_by(30)
    stores.attempts.renew(held)
    assert stores.accounts.usage("default").gpu_hours == pytest.approx(4 * 30 / 3600)

    clock.pass_by(10 * LEASE)
    stores.housekeeping.expire()
    clock.pass_by(LEASE)
    while stores.jobs.find("default", held.job.id).state is JobState.RUNNING:
        stores.housekeeping.expire()
        clock.pass_by(5)
    assert stores.accounts.usage("default").gpu_hours == pytest.approx(4 * 30 / 3600)

    again = gpu(stores)
    assert again is not None
    clock.pass_by(60)
    stores.attempts.finish(again, SUCCEEDED)
    assert stores.accounts.usage("default").gpu_hours == pytest.approx(4 * 90 / 3600)
    clock.pass_by(29 * 86_400)
    assert stores.accounts.usage("default").gpu_hours == pytest.approx(4 * 90 / 3600)
    clock.pass_by(86_400)
    assert stores.accounts.usage("default").gpu_hours == 0


def test_a_cpu_job_uses_no_gpu_time(stores: Stores, clock: Clock, new_job: NewJob) -> None:
    submit(stores, new_job())
    held = claim(stores)
    clock.pass_by(30)
    stores.attempts.renew(held)
    stores.attempts.finish(held, SUCCEEDED)

    assert stores.accounts.usage("default").gpu_hours == 0


def test_a_job_whose_project_has_used_its_hours_is_set_aside_and_goes_on_when_there_are_some(
    stores: Stores, clock: Clock, new_job: NewJob, red: Any
) -> None:
    """It hears that it is to pause, saves, waits and says why; nothing counts as a retry, and nobody has to resume it."""
    red(gpu_hours=0.01)
    job = submit(stores, new_job(project=RED, device="gpu", resolved_spec={"resources": {"gpus": 1}}))
    held = gpu(stores)
    assert held is not None
    clock.pass_by(35)
    assert not stores.attempts.renew(held).pause
    clock.pass_by(5)
    assert stores.attempts.renew(held).pause
    assert stores.attempts.finish(held, PAUSED) is JobState.QUEUED
    waits = stores.jobs.find(RED, job.id)
    assert (waits.reason, waits.retries) == (Reason.GPU_HOURS, 0)

    assert gpu(stores) is None
    with pytest.raises(QuotaExceeded, match=r"0\.01 of 0\.01 GPU hours of 30 days"):
        submit(stores, new_job(project=RED, device="gpu"))
    submit(stores, new_job(project=RED))  # the CPU is another matter
    clock.pass_by(30 * 86_400)
    again = gpu(stores)
    assert again is not None
    assert (again.job.id, stores.attempts.renew(again).pause) == (job.id, False)


def test_a_job_that_waits_for_hours_says_so_and_lets_others_pass(stores: Stores, clock: Clock, new_job: NewJob, red: Any) -> None:
    red(gpu_hours=0.01)
    first, second = (submit(stores, new_job(project=RED, device="gpu")) for _ in range(2))
    held = gpu(stores)
    assert held is not None
    clock.pass_by(40)
    stores.attempts.finish(held, SUCCEEDED)
    clock.pass_by(1)
    other = submit(stores, new_job(project="default", device="gpu"))

    taken = gpu(stores)

    assert taken is not None
    assert taken.job.id == other.id
    assert stores.jobs.find(RED, second.id).reason == Reason.GPU_HOURS
    assert stores.jobs.find(RED, first.id).state is JobState.SUCCEEDED


def test_bytes_that_never_came_are_nobodys_after_a_while(stores: Stores, clock: Clock, red: Any) -> None:
    red(stored_bytes=100)
    stores.accounts.reserve(RED, "datasets/a/1", 100)
    with pytest.raises(QuotaExceeded, match="This project has 100 bytes of 100 bytes that it may store, and this would be 1 bytes more"):
        stores.accounts.reserve(RED, "datasets/a/2", 1)
    stores.accounts.reserve(RED, "datasets/a/1", 100)

    clock.pass_by(RESERVED.total_seconds() + 1)
    stores.accounts.reserve(RED, "datasets/a/2", 100)

    assert stores.accounts.usage(RED).stored_bytes == 100


def test_an_upload_is_counted_once_and_given_back_where_storage_fails(stores: Stores, clock: Clock, tmp_path: Path, red: Any) -> None:
    """Refused before a byte of it is stored; counted until its objects are gone."""
    red(stored_bytes=25)
    artifacts, path = MemoryArtifacts(), tmp_path / "upload"
    services = services_of(stores, artifacts=artifacts, now=clock.now)

    def take_in(text: str, **others: Any) -> DatasetVersion:
        path.write_text(text)
        whole = services_of(stores, **{"artifacts": artifacts, "now": clock.now, **others})
        return use_cases.take_in(
            Received(path=path, size=len(text), sha256=text[0] * 64), project=RED, name="pets", expected=None, services=whole
        )

    class Away(MemoryArtifacts):
        def put_file(self, *_: Any, **__: Any) -> None:
            raise StorageUnavailable("away")

    with pytest.raises(StorageUnavailable):
        take_in("b" * 20, artifacts=Away())
    assert stores.accounts.usage(RED).stored_bytes == 0
    first = take_in("a" * 20)
    assert take_in("a" * 20) == first
    before = [stored.key for stored in artifacts.list("")]
    for ask in (lambda: take_in("c" * 6), lambda: use_cases.check_room(6, project=RED, name="pets", services=services)):
        with pytest.raises(QuotaExceeded):
            ask()
    use_cases.check_room(5, project=RED, name="pets", services=services)
    use_cases.check_room(20, project=RED, name="pets", services=services)  # what is there already may come again
    with pytest.raises(QuotaExceeded):
        use_cases.check_room(20, project=RED, name="cats", services=services)
    assert [stored.key for stored in artifacts.list("")] == before

    stores.datasets.remove(first)
    assert stores.accounts.usage(RED).stored_bytes == 20
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).dispose()
    assert stores.accounts.usage(RED).stored_bytes == 0


def test_of_the_same_bytes_that_come_twice_at_once_one_copy_stays(stores: Stores, clock: Clock, tmp_path: Path, red: Any) -> None:
    """Who is slower is answered with what the faster one made, and leaves nothing that nobody counts."""
    red(stored_bytes=100)
    path = tmp_path / "upload"
    path.write_text("a" * 20)
    earlier = clock.now() - timedelta(seconds=1)
    faster = DatasetVersion(project=RED, name="pets", version="a" * 64, size=20, created_at=earlier)

    class Slow(MemoryArtifacts):
        """While it takes a file, the same bytes come by another way."""

        def put_file(self, *args: Any, **kwargs: Any) -> None:
            super().put_file(*args, **kwargs)
            super().put_file(key_of(faster, "upload"), path)
            stores.datasets.put(faster)

    artifacts = Slow()
    services = services_of(stores, artifacts=artifacts, now=clock.now)
    received = Received(path=path, size=20, sha256="a" * 64)
    stored = use_cases.take_in(received, project=RED, name="pets", expected=None, services=services)

    assert stored == faster
    assert [each.key for each in artifacts.list("")] == [key_of(faster, "upload")]
    assert stores.accounts.usage(RED).stored_bytes == 20


def test_a_jobs_bytes_are_counted_as_it_saves_and_to_the_byte_once_it_has_ended(stores: Stores, new_job: NewJob, red: Any) -> None:
    """Until its objects are gone no other job finds room."""
    red(stored_bytes=100)
    artifacts = MemoryArtifacts()
    sweeper = stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell())
    job = submit(stores, new_job(project=RED))
    held = claim(stores)
    for step in (1, 2, 3):
        prefix = checkpoint_prefix(RED, job.id, held.token, step)
        artifacts.put_bytes(f"{prefix}manifest.json", b"x" * 40)
        pointer = CheckpointPointer(token=held.token, epoch=0, step=step, prefix=prefix, size=40)
        stores.attempts.checkpoint(held, pointer, keep=2)
    assert stores.accounts.usage(RED).stored_bytes == 80

    artifacts.put_bytes(artifacts_prefix(RED, job.id, held.token) + "manifest.json", b"x" * 30)
    stores.attempts.finish(held, SUCCEEDED)
    sweeper.dispose()
    whole = sum(stored.size for stored in artifacts.list(f"projects/{RED}/"))
    assert whole == 40 + 40 + 30
    assert stores.accounts.usage(RED).stored_bytes == whole
    with pytest.raises(QuotaExceeded, match="Delete jobs or data sets"):
        submit(stores, new_job(project=RED))

    stores.requests.delete(RED, job.id)
    with pytest.raises(QuotaExceeded):
        submit(stores, new_job(project=RED))
    sweeper.dispose()
    submit(stores, new_job(project=RED))


def test_what_storage_has_is_counted_again_after_redis_was_lost(stores: Stores, clock: Clock, new_job: NewJob) -> None:
    """The bytes by a sweep; a project's quota from its record."""
    artifacts = MemoryArtifacts()
    record = Project(name=RED, created_at=clock.now()).limited(Quota(stored_bytes=1000, gpu_hours=2.5))
    lost = memory.stores(now=clock.now, lease_seconds=LEASE)
    lost.access.make(Project(name=RED, created_at=clock.now()))
    lost.access.change(record)
    ended = submit(lost, new_job(project=RED))
    held = claim(lost)
    artifacts.put_bytes(artifacts_prefix(RED, ended.id, held.token) + "manifest.json", b'{"files": []}')
    lost.attempts.finish(held, SUCCEEDED)
    version = lost.datasets.put(DatasetVersion(project=RED, name="pets", version="a" * 64, size=10, created_at=clock.now()))
    artifacts.put_bytes(f"projects/{RED}/datasets/pets/{version.place}/dataset.json", version.model_dump_json().encode())
    lost.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).sweep()

    rebuild(artifacts=artifacts, rebuilding=stores.rebuilding, datasets=stores.datasets, access=stores.access)
    stores.sweeper(artifacts=artifacts, doorbell=MemoryDoorbell()).dispose()

    assert stores.access.project(RED) == record
    job_bytes = sum(stored.size for stored in artifacts.list(f"projects/{RED}/jobs/"))
    assert stores.accounts.usage(RED).stored_bytes == job_bytes + 10


def test_the_last_word_about_a_project_holds_and_an_old_one_is_told(stores: Stores, clock: Clock) -> None:
    """The project that is always there can be limited, too; one that is not there cannot."""
    default = stores.access.project("default")
    stores.access.change(default.limited(Quota(running=1)))

    with pytest.raises(ProjectChanged):
        stores.access.change(default.limited(Quota(running=2)))
    with pytest.raises(ProjectNotFound):
        stores.access.change(Project(name="none", created_at=clock.now()).limited(Quota()))
    assert stores.access.project("default").quota == Quota(running=1)
    assert [each.name for each in stores.access.projects()] == ["default"]


def test_a_record_that_landed_late_is_written_again(stores: Stores) -> None:
    """Storage must not keep an older quota than the store."""
    first = stores.access.project("default").limited(Quota(running=1))
    second = first.limited(Quota(running=2))
    stores.access.change(first)
    stores.access.change(second)
    stores.access.saved_access(second)
    assert list(stores.access.unsaved_access(10)) == []

    stores.access.saved_access(first)

    assert list(stores.access.unsaved_access(10)) == [second]


@pytest.mark.parametrize(
    ("own", "common", "limits"),
    [
        (Quota(), Quota(running=3), Quota(running=3)),
        (Quota(running=0), Quota(running=3), Quota()),
        (Quota(gpu_hours=1.5), Quota(gpu_hours=3, queued=0), Quota(gpu_hours=1.5)),
    ],
)
def test_what_holds_is_the_projects_own_else_the_installations(own: Quota, common: Quota, limits: Quota) -> None:
    assert own.otherwise(common).limits == limits


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_the_installations_quota_holds_where_a_project_has_none(kind: str, clock: Clock, redis_url: str, new_job: NewJob) -> None:
    common = Quota(queued=1)
    on_redis = redis_jobs.connect(redis_url, now_ms=clock.now_ms, quota=common)
    stores = on_redis if kind == "redis" else memory.stores(now=clock.now, quota=common)
    stores.access.make(Project(name=RED, created_at=clock.now()))
    submit(stores, new_job(project=RED))

    with pytest.raises(QuotaExceeded):
        submit(stores, new_job(project=RED))
    stores.access.change(stores.access.project(RED).limited(Quota(queued=0)))
    assert submit(stores, new_job(project=RED)).state is JobState.QUEUED
    on_redis.close()


def test_names_of_owners_never_meet() -> None:
    """A data set called like a job's folder is another owner."""
    assert of_job("a") != of_dataset("jobs", "a")

"""Keys and projects as they are kept. One body of tests for Redis and for its twin in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from service.access.errors import KeyChanged, KeyNotFound, ProjectExists, ProjectInUse, ProjectNotFound
from service.access.keys import Key, Project, Secret, digest, new_id
from service.access.principal import Role
from service.adapters.stores import Stores
from tests.integration.conftest import Clock
from tests.integration.steps import NewJob, submit

NewKey = Callable[..., Key]


@pytest.fixture
def new_key(clock: Clock) -> NewKey:
    """Makes keys that nobody has kept yet."""

    def make(project: str = "red", role: Role = Role.SUBMIT) -> Key:
        clock.pass_by(1)
        secrets = (Secret(sha256=digest("x")),)
        return Key(id=new_id(), name="é", project=project, role=role, secrets=secrets, created_at=clock.now(), created_by="somebody")

    return make


def project(clock: Clock, name: str = "red") -> Project:
    return Project(name=name, description="A team's.", created_at=clock.now())


def test_a_key_comes_back_as_it_was_kept(stores: Stores, new_key: NewKey, clock: Clock) -> None:
    first, second = new_key(), new_key(role=Role.ADMIN)
    assert not stores.access.exist()

    assert stores.access.add(second)
    assert stores.access.add(first)
    stores.access.used(first.id, clock.now())

    assert stores.access.find(first.id) == first
    assert stores.access.list() == [first, second]
    assert stores.access.last_used() == {first.id: clock.now()}
    assert stores.access.exist()
    with pytest.raises(KeyNotFound):
        stores.access.find("000000000000")


def test_only_the_next_version_takes_the_place_of_one(stores: Stores, new_key: NewKey, clock: Clock) -> None:
    """Two who change a key at the same time: the later one is told, and nothing of the earlier one's is lost."""
    key = new_key()
    assert stores.access.add(key)
    renamed, revoked = key.described(name="other", expires_at=None), key.revoked(clock.now())

    stores.access.replace(revoked)

    with pytest.raises(KeyChanged):
        stores.access.replace(renamed)
    with pytest.raises(KeyChanged):
        stores.access.replace(new_key().revoked(clock.now()))
    assert not stores.access.add(key)
    assert stores.access.find(key.id) == revoked


def test_of_many_first_keys_one_is_kept(stores: Stores, new_key: NewKey) -> None:
    """Several APIs that start at the same time make one first key between them."""
    keys = [new_key() for _ in range(20)]

    with ThreadPoolExecutor(20) as pool:
        kept = list(pool.map(lambda key: stores.access.add(key, first=True), keys))

    assert sum(kept) == 1
    assert stores.access.list() == [keys[kept.index(True)]]


def test_default_is_always_there_and_others_once_they_are_made(stores: Stores, clock: Clock) -> None:
    stores.access.make(project(clock))

    assert [each.name for each in stores.access.projects()] == ["default", "red"]
    assert stores.access.project("red") == project(clock)
    for again in ("red", "default"):
        with pytest.raises(ProjectExists):
            stores.access.make(project(clock, again))
    with pytest.raises(ProjectNotFound):
        stores.access.project("blue")


def test_a_project_goes_only_when_nothing_is_in_it(stores: Stores, new_job: NewJob, new_key: NewKey, clock: Clock) -> None:
    """Jobs, data sets and keys that are not revoked keep it."""
    stores.access.make(project(clock))
    key, job = new_key(), submit(stores, new_job(project="red"))
    stores.access.add(key)

    with pytest.raises(ProjectInUse, match="jobs"):
        stores.access.unmake("red")
    stores.requests.cancel("red", job.id)
    stores.requests.delete("red", job.id)
    with pytest.raises(ProjectInUse, match=key.id):
        stores.access.unmake("red")
    stores.access.replace(key.revoked(clock.now()))
    stores.access.unmake("red")

    assert [each.name for each in stores.access.projects()] == ["default"]
    for name, error in (("red", ProjectNotFound), ("default", ProjectInUse)):
        with pytest.raises(error):
            stores.access.unmake(name)


def test_what_storage_lacks_is_told_until_the_newest_version_is_there(stores: Stores, new_key: NewKey, clock: Clock) -> None:
    """Whoever saved an older version meanwhile has not saved the key."""
    key = new_key()
    stores.access.add(key)
    stores.access.make(project(clock))
    assert {str(type(each)) for each in stores.access.unsaved_access(10)} == {str(Key), str(Project)}
    revoked = key.revoked(clock.now())

    stores.access.replace(revoked)
    stores.access.saved_access(key)
    stores.access.saved_access(project(clock))
    assert stores.access.unsaved_access(10) == [revoked]
    stores.access.saved_access(revoked)
    stores.access.unmake("red") if not stores.access.unsaved_access(10) else pytest.fail("something is left")

    assert stores.access.unsaved_access(10) == ["red"]
    stores.access.saved_access("red")
    assert stores.access.unsaved_access(10) == []


def test_a_restored_key_never_takes_the_place_of_a_newer_one(stores: Stores, new_key: NewKey, clock: Clock) -> None:
    """A revoked key does not come back."""
    key = new_key()
    revoked = key.revoked(clock.now() + timedelta(seconds=1))

    assert [stores.access.restore_access(each) for each in (key, revoked, key, revoked)] == [True, True, False, False]
    assert stores.access.restore_access(project(clock))
    assert not stores.access.restore_access(project(clock))

    assert stores.access.find(key.id) == revoked
    assert stores.access.unsaved_access(10) == []


def test_the_secret_of_sessions_is_one_for_all(stores: Stores) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: stores.access.session_secret(), range(40)))

    assert len(found) == 1
    assert len(found.pop()) == 32

"""Keys and projects in storage: what is revoked stays so, whatever is lost and whoever writes late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from service.access.errors import KeyEnded, KeyNotFound, KeyRefused, LastKey, ProjectNotFound
from service.access.keys import Key, Project
from service.access.layout import ACCESS_PREFIX, key_record
from service.access.principal import EVERYWHERE, Principal, Role
from service.adapters import memory
from service.adapters.memory import MemoryArtifacts
from service.adapters.stores import Stores
from service.jobs.errors import StorageUnavailable
from service.safekeeping import restore_access, save_access
from service.use_cases import access as use_cases
from service.use_cases.access import Access
from tests.integration.conftest import Clock

NOBODY = Principal(key_id=None, project="default", role=Role.ADMIN, everywhere=True)


@pytest.fixture
def access(stores: Stores, clock: Clock) -> Access:
    """On stores that are empty."""
    return Access(store=stores.access, audit=stores.audit, accounts=stores.accounts, artifacts=MemoryArtifacts(), now=clock.now)


def admin(access: Access) -> Principal:
    """The installation's first admin."""
    made = use_cases.create_key(NOBODY, name="first", project=EVERYWHERE, role=Role.ADMIN, access=access)
    return Principal(key_id=made.key.id, project="default", role=Role.ADMIN, everywhere=True)


def test_everything_comes_back_as_it_was_last(access: Access, clock: Clock) -> None:
    """A revoked key, revoked; a project that was removed, not at all."""
    who = admin(access)
    for name in ("red", "gone"):
        use_cases.create_project(name, "", access=access)
    key = use_cases.create_key(who, name="a", project="red", role=Role.READ, access=access).key
    use_cases.rotate_key(who, key.id, overlap=timedelta(hours=1), access=access)
    use_cases.revoke_key(who, key.id, access=access)
    use_cases.delete_project("gone", access=access)
    before = access.store.list(), access.store.projects()

    again = memory.stores(now=clock.now).access
    assert restore_access(store=again, artifacts=access.artifacts) == 3
    assert restore_access(store=again, artifacts=access.artifacts) == 0

    assert (again.list(), again.projects()) == before
    assert again.find(key.id).revoked_at == clock.now()


def test_a_late_writer_of_an_older_version_brings_nothing_back(access: Access, clock: Clock) -> None:
    """One sweeper read the key before it was revoked, and writes after."""
    who = admin(access)
    key = use_cases.create_key(who, name="a", project="default", role=Role.READ, access=access).key
    use_cases.revoke_key(who, key.id, access=access)

    access.artifacts.put_bytes(key_record(key), key.model_dump_json().encode())

    again = memory.stores(now=clock.now).access
    restore_access(store=again, artifacts=access.artifacts)
    assert not again.find(key.id).is_live(clock.now())


def test_a_record_that_cannot_be_read_is_left_out(access: Access, clock: Clock) -> None:
    """Nor is an older version of it taken: that would say less."""
    who = admin(access)
    key = use_cases.create_key(who, name="a", project="default", role=Role.READ, access=access).key
    access.artifacts.put_bytes(f"{ACCESS_PREFIX}keys/{key.id}/2.json", b"{")
    access.artifacts.put_bytes(f"{ACCESS_PREFIX}keys/{key.id}/README", b"?")

    again = memory.stores(now=clock.now).access
    restore_access(store=again, artifacts=access.artifacts)

    assert [each.id for each in again.list()] == [who.key_id]


def test_storage_that_is_away_keeps_nobody_from_revoking(access: Access, stores: Stores, clock: Clock) -> None:
    """The next round of a sweeper writes what could not be written."""
    who = admin(access)
    key = use_cases.create_key(who, name="a", project="default", role=Role.READ, access=access).key

    class Away(MemoryArtifacts):
        def put_bytes(self, *_: object, **__: object) -> None:
            raise StorageUnavailable("away")

    away = Access(store=access.store, audit=access.audit, accounts=access.accounts, artifacts=Away(), now=clock.now)
    use_cases.revoke_key(who, key.id, access=away)
    assert access.store.find(key.id).revoked_at is not None

    assert [each.id for each in stores.access.unsaved_access(9) if isinstance(each, Key)] == [key.id]
    save_access(store=stores.access, artifacts=access.artifacts)
    assert stores.access.unsaved_access(9) == []
    assert any(stored.key == f"{ACCESS_PREFIX}keys/{key.id}/2.json" for stored in access.artifacts.list(ACCESS_PREFIX))


def test_the_first_key_is_one_that_can_make_others(access: Access) -> None:
    with pytest.raises(KeyRefused, match="--everywhere"):
        use_cases.create_key(NOBODY, name="a", project="default", role=Role.SUBMIT, access=access)
    admin(access)

    with pytest.raises(KeyRefused, match="at the same time"):
        admin(access)
    assert use_cases.first_key(access) is None


def test_the_last_key_that_can_make_others_stays(access: Access) -> None:
    """Unless the environment has one."""
    who = admin(access)
    assert who.key_id is not None

    with pytest.raises(LastKey):
        use_cases.revoke_key(who, who.key_id, access=access)
    second = use_cases.create_key(who, name="b", project=EVERYWHERE, role=Role.ADMIN, access=access).key
    use_cases.revoke_key(who, second.id, access=access)
    use_cases.revoke_key(who, second.id, access=access)
    with_own = Access(
        store=access.store, audit=access.audit, accounts=access.accounts, artifacts=access.artifacts, now=access.now, has_own=True
    )
    use_cases.revoke_key(who, who.key_id, access=with_own)

    assert access.store.exist()


def test_what_a_key_may_not_be(access: Access, clock: Clock) -> None:
    who = admin(access)
    own = Principal(key_id="k", project="red", role=Role.ADMIN)
    access.store.make(Project(name="red", created_at=clock.now()))

    for refused, principal, project, role, seconds in (
        (KeyRefused, who, "nowhere", Role.READ, None),
        (KeyRefused, who, EVERYWHERE, Role.READ, None),
        (KeyRefused, who, "red", Role.READ, 0),
        (ProjectNotFound, own, EVERYWHERE, Role.ADMIN, None),
        (ProjectNotFound, own, "default", Role.READ, None),
    ):
        end = None if seconds is None else clock.now() + timedelta(seconds=seconds)
        with pytest.raises(refused):
            use_cases.create_key(principal, name="x", project=project, role=role, expires_at=end, access=access)
    mine = use_cases.create_key(own, name="x", project=None, role=Role.ADMIN, access=access).key
    assert (mine.project, mine.created_by) == ("red", "k")


def test_an_admin_of_one_project_finds_its_own_keys_only(access: Access) -> None:
    who = admin(access)
    use_cases.create_project("red", "", access=access)
    own = Principal(key_id="k", project="red", role=Role.ADMIN)
    mine = use_cases.create_key(who, name="x", project="red", role=Role.READ, access=access).key

    assert list(use_cases.all_keys(own, access=access)) == [mine]
    assert [each.name for each in use_cases.all_projects(own, access=access)] == ["red"]
    with pytest.raises(KeyNotFound):
        use_cases.find_key(own, str(who.key_id), access=access)
    with pytest.raises(ProjectNotFound):
        use_cases.find_project(own, "default", access=access)


def test_a_revoked_key_is_changed_no_more(access: Access) -> None:
    who = admin(access)
    key = use_cases.create_key(who, name="x", project="default", role=Role.READ, access=access).key
    renamed = use_cases.describe_key(who, key.id, changes={"name": "y"}, access=access)
    use_cases.revoke_key(who, key.id, access=access)

    assert (renamed.name, renamed.expires_at) == ("y", None)
    for change in (
        lambda: use_cases.rotate_key(who, key.id, overlap=timedelta(), access=access),
        lambda: use_cases.describe_key(who, key.id, changes={"name": "z"}, access=access),
    ):
        with pytest.raises(KeyEnded):
            change()

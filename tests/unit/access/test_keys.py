"""Keys: how they read, what is kept of them, and when they are good."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.keys import Key, Malformed, Secret, digest, id_of, new_id, new_secret
from service.access.principal import Principal, Role

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def key(**others: object) -> tuple[Key, str]:
    """A key and its secret."""
    key_id = new_id()
    text = new_secret(key_id)
    told = {"id": key_id, "name": "k", "project": "red", "role": "submit", "secrets": (Secret(sha256=digest(text)),), "created_at": NOW}
    return Key.model_validate(told | others), text


def test_a_key_says_what_it_is_and_whose():
    """Scanners of repositories find it by its beginning; its id may be told to anybody."""
    key_id = new_id()
    text = new_secret(key_id)

    assert re.fullmatch(r"trainyard_[0-9a-f]{12}_[0-9A-Za-z]{38}", text)
    assert id_of(text) == key_id
    assert len({new_secret(key_id) for _ in range(1000)}) == 1000


@given(at=st.integers(0, 60), put=st.sampled_from("0aZ_x"))
def test_one_wrong_character_is_told_without_asking_anybody(at: int, put: str):
    text = new_secret("0123456789ab")
    typo = text[:at] + put + text[at + 1 :]

    if typo != text:
        with pytest.raises(Malformed):
            id_of(typo)


@pytest.mark.parametrize(
    "text", ["", "a", "trainyard_", "trainyard_0123456789ab_" + "0" * 38, "é" * 61, "trainyard_0123456789ab_" + "\u0660" * 38]
)
def test_what_was_never_a_key_is_told_too(text: str):
    with pytest.raises(Malformed):
        id_of(text)


def test_nothing_of_a_secret_is_in_its_record():
    made, text = key()

    kept = made.model_dump_json()

    assert made.accepts(digest(text), now=NOW)
    assert text not in kept
    assert text.rpartition("_")[2][:12] not in kept
    assert not made.accepts(digest(new_secret(made.id)), now=NOW)


def test_a_rotated_key_accepts_both_secrets_for_a_while_and_no_third():
    made, first = key()
    second, third = new_secret(made.id), new_secret(made.id)

    once = made.rotated(digest(second), now=NOW, overlap=timedelta(hours=1))
    twice = once.rotated(digest(third), now=NOW, overlap=timedelta(hours=1))

    assert [once.accepts(digest(each), now=NOW) for each in (first, second, third)] == [True, True, False]
    assert not once.accepts(digest(first), now=NOW + timedelta(hours=1))
    assert once.accepts(digest(second), now=NOW + timedelta(days=999))
    assert [twice.accepts(digest(each), now=NOW) for each in (first, second, third)] == [False, True, True]
    assert (made.version, once.version, twice.version) == (1, 2, 3)


def test_a_key_is_live_until_it_expires_or_is_revoked():
    made, _ = key(expires_at=NOW + timedelta(days=1))

    assert made.is_live(NOW)
    assert not made.is_live(NOW + timedelta(days=1))
    assert not made.revoked(NOW).is_live(NOW)
    assert made.revoked(NOW).revoked(NOW + timedelta(days=2)).revoked_at == NOW


@pytest.mark.parametrize(("has", "allowed"), [(Role.READ, 1), (Role.SUBMIT, 2), (Role.ADMIN, 3)])
def test_each_role_allows_all_that_the_ones_before_it_do(has: Role, allowed: int):
    assert [has.allows(needed) for needed in Role] == [place < allowed for place in range(3)]


def test_an_admin_rules_its_project_and_one_of_the_installation_all():
    own = Principal(key_id="k", project="red", role=Role.ADMIN)

    assert [own.rules(project) for project in ("red", "blue", "*")] == [True, False, False]
    assert Principal(key_id="k", project="red", role=Role.ADMIN, everywhere=True).rules("blue")
    assert not Principal(key_id="k", project="red", role=Role.SUBMIT).rules("red")

"""Looking keys up for requests: remembered for a second, asked for once by many, and noted when they are used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from service.access.errors import KeyNotFound
from service.access.keys import Key, Malformed, Secret, digest, new_id, new_secret
from service.access.principal import Role
from service.adapters.memory.access import MemoryAccess
from service.adapters.stores import Stores
from service.api import keyring as looking
from service.api.keyring import ENVIRONMENT, Keyring
from service.jobs.errors import StoreUnavailable


def kept(stores: Stores) -> tuple[Key, str]:
    """A key that is in the store, and its secret."""
    key_id = new_id()
    text = new_secret(key_id)
    key = Key(id=key_id, name="k", project="red", role=Role.READ, secrets=(Secret(sha256=digest(text)),), created_at=datetime.now(tz=UTC))
    stores.access.add(key)
    return key, text


class Counting:
    """The store, with a count of what it was asked; away where it is told so."""

    def __init__(self, store: MemoryAccess) -> None:
        self.store, self.asked, self.away = store, 0, False

    def __getattr__(self, name: str) -> Callable[..., object]:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return getattr(self.store, name)  # type: ignore[no-any-return]


def test_what_was_revoked_elsewhere_is_refused_within_a_second(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was revoked here at once."""
    key, text = kept(stores)
    ring = Keyring(stores.access)
    now = [100.0]
    monkeypatch.setattr(looking.time, "monotonic", lambda: now[0])

    async def is_live() -> bool:
        return (await ring.key_of(text)).is_live(datetime.now(tz=UTC))

    async def story() -> list[bool]:
        told = [await is_live()]
        stores.access.replace(key.revoked(datetime.now(tz=UTC)))
        told.append(await is_live())
        now[0] += looking.REMEMBERED_SECONDS + 0.01
        return [*told, await is_live()]

    assert asyncio.run(story()) == [True, True, False]


def test_what_is_changed_here_holds_here_at_once(stores: Stores) -> None:
    key, text = kept(stores)
    ring = Keyring(stores.access)

    async def story() -> bool:
        await ring.key_of(text)
        stores.access.replace(key.revoked(datetime.now(tz=UTC)))
        ring.forget()
        return (await ring.key_of(text)).is_live(datetime.now(tz=UTC))

    assert not asyncio.run(story())


def test_many_requests_ask_the_store_once(stores: Stores) -> None:
    _, text = kept(stores)
    store = Counting(stores.access)  # type: ignore[arg-type]  # whichever it is
    ring = Keyring(store)  # type: ignore[arg-type]

    async def many() -> set[str]:
        return {key.id for key in await asyncio.gather(*(ring.key_of(text) for _ in range(200)))}

    assert len(asyncio.run(many())) == 1
    assert store.asked == 1


def test_nobody_asks_the_store_about_what_is_no_key(stores: Stores) -> None:
    store = Counting(stores.access)  # type: ignore[arg-type]
    ring = Keyring(store)  # type: ignore[arg-type]

    for text in ("", "x" * 10_000, new_secret("0" * 12)[:-1] + "!"):
        with pytest.raises(Malformed):
            asyncio.run(ring.key_of(text))

    assert store.asked == 0


def test_an_unknown_id_and_a_wrong_secret_open_nothing(stores: Stores) -> None:
    key, _ = kept(stores)
    ring = Keyring(stores.access)

    with pytest.raises(KeyNotFound):
        asyncio.run(ring.key_of(new_secret("f" * 12)))
    with pytest.raises(Malformed):
        asyncio.run(ring.key_of(new_secret(key.id)))


@pytest.mark.parametrize("text", ["any words at all", "\u00e9", "trainyard_0123456789ab_" + "0" * 38])
def test_the_environments_key_may_read_as_it_likes(stores: Stores, text: str) -> None:
    """And opens the service whatever is with the store."""
    store = Counting(stores.access)  # type: ignore[arg-type]
    store.away = True
    ring = Keyring(store, api_key=text)  # type: ignore[arg-type]

    key = asyncio.run(ring.key_of(text))

    assert (key.id, key.role, key.everywhere) == (ENVIRONMENT, Role.ADMIN, True)
    assert not asyncio.run(ring.is_open())


def test_a_key_with_a_record_is_no_more_for_being_the_environments(stores: Stores) -> None:
    """Who exports their own key where the API starts makes no admin of it, nor brings it back."""
    key, text = kept(stores)
    ring = Keyring(stores.access, api_key=text)

    assert asyncio.run(ring.key_of(text)) == key
    stores.access.replace(key.revoked(datetime.now(tz=UTC)))
    ring.forget()

    assert not asyncio.run(ring.key_of(text)).is_live(datetime.now(tz=UTC))


def test_a_service_that_once_had_a_key_is_not_open_again(stores: Stores) -> None:
    """Not even when Redis forgets everything: until then it is asked at every second."""
    store = Counting(stores.access)  # type: ignore[arg-type]
    ring = Keyring(store)  # type: ignore[arg-type]
    assert asyncio.run(ring.is_open())
    kept(stores)
    ring.forget()

    assert not asyncio.run(ring.is_open())
    store.away = True
    ring.forget()
    assert not asyncio.run(ring.is_open())


def test_a_store_that_does_not_answer_opens_nothing(stores: Stores) -> None:
    """And is asked again by the next request."""
    store = Counting(stores.access)  # type: ignore[arg-type]
    ring = Keyring(store)  # type: ignore[arg-type]
    store.away = True

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            asyncio.run(ring.is_open())
    store.away = False

    assert asyncio.run(ring.is_open())


def test_a_use_is_noted_once_a_minute(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot note it lets who has a key in all the same."""
    key, _ = kept(stores)
    at = datetime(2026, 11, 26, tzinfo=UTC)
    seconds = [0.0]
    monkeypatch.setattr(looking.time, "monotonic", lambda: seconds[0])
    ring = Keyring(stores.access, now=lambda: at + timedelta(seconds=seconds[0]))

    noted = []
    for seconds[0] in (1.0, 2.0, 60.0, 61.5):
        asyncio.run(ring.note_use(key))
        noted.append((stores.access.last_used()[key.id] - at).total_seconds())
    assert noted == [1.0, 1.0, 1.0, 61.5]

    store = Counting(stores.access)  # type: ignore[arg-type]
    store.away = True
    asyncio.run(Keyring(store).note_use(key))  # type: ignore[arg-type]
    assert store.asked == 1

"""What each of the two Redis users may do: all that the service does as that user, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from hashlib import sha256
from pathlib import Path

import pytest
import redis

from service.adapters import redis_jobs, redis_scripts
from service.adapters.celery_doorbell import CeleryDoorbell, OwnBell, celery_app
from service.redis_users import BROKER_COMMANDS, STORE_COMMANDS, acl_lines
from tests.servers import GuardedValkey, guarded_valkey

FOREIGN = [
    "FLUSHALL",
    "KEYS *",
    "SCAN 0",
    "CONFIG GET *",
    "ACL LIST",
    "MONITOR",
    "SHUTDOWN",
    "CLIENT LIST",
    "CLIENT TRACKING ON",
    "EVAL 0 0",
    "FUNCTION LIST",
    "RANDOMKEY",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedValkey]:
    """A Valkey with an ACL file."""
    with guarded_valkey(tmp_path_factory.mktemp("guarded")) as running:
        yield running


@pytest.fixture
def denied(server: GuardedValkey) -> Iterator[list[str]]:
    """What Valkey refused during the test; read at its end by who asks for `denied`."""
    with redis.Redis.from_url(server.admin_url, decode_responses=True) as admin:
        admin.acl_log_reset()
        found: list[str] = []
        yield found
        found += [f"{entry['username']}: {entry['object']}" for entry in admin.acl_log()]
        assert found == []


def test_every_command_of_the_scripts_is_allowed() -> None:
    """A script that calls a new command needs it in the list: nothing else would say so before it runs under an ACL."""
    called = {
        name.lower() for path in redis_scripts.FOLDER.glob("*.lua") for name in re.findall(r"redis\.p?call\('(\w+)'", path.read_text())
    }

    assert len(called) > 30
    assert called - set(STORE_COMMANDS) == set()


@pytest.mark.usefixtures("denied")
def test_the_broker_may_do_what_celery_does(server: GuardedValkey) -> None:
    """Rings, a worker's own queue that comes and goes, and a monitor that listens and asks."""
    app = celery_app(server.broker_url)
    own = OwnBell(app, "w1")

    CeleryDoorbell(app).ring("cpu", times=2)
    own.ring()
    own.remove()
    heard = app.control.ping(timeout=0.2)
    with app.connection_for_read() as connection:
        app.events.Receiver(connection, handlers={}).capture(limit=1, timeout=0.5)

    with redis.Redis.from_url(server.admin_url, decode_responses=True) as admin:
        assert admin.llen("ty-bell:cpu") == 2
        assert {key for key in admin.scan_iter() if not key.startswith("ty-bell:")} == set()
        assert admin.keys("*own-w1*") == []
    assert heard == []
    app.close()


@pytest.mark.usefixtures("denied")
def test_the_store_may_do_what_the_stores_do(server: GuardedValkey) -> None:
    """A first look; the other tests of this folder use the stores as this user, too."""
    stores = redis_jobs.connect(server.store_url)

    stores.ping()

    assert set(stores.jobs.counts("default").values()) == {0}
    assert stores.housekeeping.expire() == []
    stores.close()


@pytest.mark.parametrize("command", [*FOREIGN, "LPUSH ty-bell:cpu x", "GET other", "PUBLISH other x", "SUBSCRIBE other", "BRPOP ty:x 1"])
def test_the_store_may_do_nothing_else(server: GuardedValkey, command: str) -> None:
    """No look at other keys, no word to the broker, no command of an operator's."""
    with redis.Redis.from_url(server.store_url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


@pytest.mark.parametrize("command", [*FOREIGN, "HGETALL ty:job:1", "DEL ty:leases", "GET other", "SUBSCRIBE ty:changed", "INFO"])
def test_the_broker_may_do_nothing_else(server: GuardedValkey, command: str) -> None:
    """Whoever has the broker's password can ring, and cannot read or change a job."""
    with redis.Redis.from_url(server.broker_url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "redis://:{password}@127.0.0.1:{port}/0"])
def test_nobody_comes_in_without_a_name(server: GuardedValkey, url: str) -> None:
    """The default user is off, whatever the password."""
    address = url.format(port=server.port, password=server.store_password)
    with redis.Redis.from_url(address) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()


def test_the_page_has_the_same_lines() -> None:
    """An operator copies them from docs/howto/more-machines.md, and puts two passwords in."""
    page = (Path(__file__).parent.parent.parent / "docs/howto/more-machines.md").read_text()
    secret = {word: f"#{sha256(word.encode()).hexdigest()}" for word in ("STORE-PASSWORD", "BROKER-PASSWORD")}

    told = [line for line in page.splitlines() if line.startswith("user ")]

    assert [reduce(lambda text, word: text.replace(f">{word}", secret[word]), secret, line) for line in told] == list(
        acl_lines(store_password="STORE-PASSWORD", broker_password="BROKER-PASSWORD")
    )


def test_the_file_tells_no_password(server: GuardedValkey, tmp_path: Path) -> None:
    """It holds their SHA-256."""
    text = server.acl_file(tmp_path).read_text()

    assert server.store_password not in text
    assert server.broker_password not in text
    assert set(STORE_COMMANDS) - set(BROKER_COMMANDS) >= {"info", "hgetall"}

"""Sending webhooks over real sockets: what is connected to, what is signed, what counts as an answer, who waits for whom."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from standardwebhooks import Webhook

from service.adapters import redis_jobs
from service.adapters.stores import Stores
from service.adapters.webhooks import HttpPost, Lookout, Names
from service.jobs.job import Endpoint, Job
from service.spec.notify import ENDS, Address
from service.webhooks.addresses import Allowed
from service.webhooks.delivering import Deliverer
from service.webhooks.delivery import Delivery, DeliveryState
from service.webhooks.ports import Limits
from tests.e2e.stack import until
from tests.integration.steps import submit
from tests.receivers import Authority, authority, receiving

LOOPBACK = Allowed.parse("127.0.0.0/8")
SIGNED = {"webhook-id": "msg_1"}


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of this run's own."""
    return authority(tmp_path_factory.mktemp("authority"))


def post(allowed: Allowed = LOOPBACK, *, names: Names | None = None, seconds: float = 5, ca_file: Path | None = None) -> HttpPost:
    return HttpPost(allowed, names=names or Names(), seconds=seconds, ca_file=ca_file)


def resolving(*answers: str | Sequence[str]) -> tuple[Names, list[str]]:
    """A resolver that gives these answers, one after the other, and the names that it was asked for."""
    left, asked = list(answers), list[str]()

    def resolve(host: str, _: int) -> Sequence[Address]:
        asked.append(host)
        now = left.pop(0) if left[1:] else left[0]
        return [ipaddress.ip_address(each) for each in ([now] if isinstance(now, str) else now)]

    return Names(resolve), asked


def test_https_goes_to_the_checked_address_under_the_names_certificate(trust: Authority) -> None:
    """The name is asked for once; Host header and certificate are the name's, the socket is the address's."""
    names, asked = resolving("127.0.0.1")
    with receiving(certificate=trust.for_host("hooks.example.com")) as receiver:
        url = f"https://hooks.example.com:{receiver.port}/a?b=c"
        answer = post(names=names, ca_file=trust.certificate).send(url, SIGNED, b"{}")

    assert (answer.status, answer.error) == (204, None)
    assert asked == ["hooks.example.com"]
    assert [(each.path, each.headers["host"], each.body) for each in receiver.came] == [
        ("/a?b=c", f"hooks.example.com:{receiver.port}", b"{}")
    ]


def test_a_certificate_for_another_name_or_by_nobody_known_is_not_believed(trust: Authority) -> None:
    """Nothing is sent to such a one."""
    names, _ = resolving("127.0.0.1")
    with receiving(certificate=trust.for_host("hooks.example.com")) as receiver:
        other = post(names=names, ca_file=trust.certificate).send(f"https://other.example.com:{receiver.port}/", SIGNED, b"{}")
        unknown = post(names=names).send(f"https://hooks.example.com:{receiver.port}/", SIGNED, b"{}")

    for answer in (other, unknown):
        assert answer.status is None
        assert "certificate" in str(answer.error).lower()
    assert receiver.came == []


def test_a_name_that_turns_to_loopback_after_it_was_checked_reaches_nobody() -> None:
    """Rebinding: an address that may be reached when the job was submitted, loopback when there is something to tell. No connection is made."""
    names, asked = resolving("93.184.216.34", "127.0.0.1")
    allowed = Allowed.parse("93.184.216.34")  # else the receiver's port alone would be reason enough
    with receiving() as receiver:
        url = f"http://rebound.example:{receiver.port}/"
        (looked,) = Lookout(allowed, names=names).look([url])
        answer = post(allowed, names=names).send(url, SIGNED, b"{}")

        assert receiver.connections == 0
    assert (looked.refusal, looked.resolved) == (None, True)
    assert (answer.status, answer.error) == (None, "Not sent: its address is not one of the public Internet (loopback).")
    assert asked == ["rebound.example"] * 2


def test_an_address_among_others_that_must_not_be_reached_is_enough() -> None:
    """Whichever comes first."""
    for addresses in (["127.0.0.1", "93.184.216.34"], ["93.184.216.34", "10.0.0.1"]):
        names, _ = resolving(addresses)
        answer = post(Allowed(), names=names).send("https://both.example/", SIGNED, b"{}")

        assert str(answer.error).startswith("Not sent: ")


def test_what_is_connected_to_is_what_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket gets an address, never a name that somebody would resolve again."""
    reached: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> socket.socket:
        reached.append(address)
        raise ConnectionRefusedError("nobody here")

    monkeypatch.setattr(socket, "create_connection", connect)
    names, asked = resolving(["93.184.216.34", "2606:4700::1111"])

    answer = post(Allowed(), names=names).send("https://hooks.example.com/", SIGNED, b"{}")

    assert reached == [("93.184.216.34", 443), ("2606:4700::1111", 443)]
    assert asked == ["hooks.example.com"]
    assert "not reached" in str(answer.error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(status: int) -> None:
    """Wherever it leads."""
    with receiving() as inside, receiving() as receiver:
        receiver.reply = lambda _: (status, {"Location": f"http://127.0.0.1:{inside.port}/"})
        answer = post().send(f"http://127.0.0.1:{receiver.port}/", SIGNED, b"{}")

    assert answer.status == status
    assert "redirect" in str(answer.error)
    assert (len(receiver.came), inside.connections) == (1, 0)


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        answer = post().send(f"http://127.0.0.1:{receiver.port}/", SIGNED, b"{}")

    assert (answer.status, len(receiver.came), proxy.connections) == (204, 1, 0)


@contextmanager
def speaking(speak: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A server that says what it likes, until the test is over."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.settimeout(10)
                speak(connection, over)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


def hangs(_: socket.socket, over: threading.Event) -> None:
    over.wait(10)


def drips(connection: socket.socket, over: threading.Event) -> None:
    """A byte of the head now and then, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    try:
        while not over.wait(0.1):
            connection.sendall(b"x")
    except OSError:
        return


@pytest.mark.parametrize("speak", [hangs, drips])
def test_an_attempt_ends_in_time_whatever_the_other_side_does(speak: Callable[[socket.socket, threading.Event], None]) -> None:
    began = monotonic()
    with speaking(speak) as port:
        answer = post(seconds=1).send(f"http://127.0.0.1:{port}/", SIGNED, b"{}")
        took = monotonic() - began

    assert (answer.status, answer.error) == (None, "no answer within 1 s")
    assert 0.9 < took < 2.5


def endless(connection: socket.socket, over: threading.Event) -> None:
    """A good answer whose body never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    try:
        while not over.wait(0.001):
            connection.sendall(b"x" * 65536)
    except OSError:
        return


def half(connection: socket.socket, over: threading.Event) -> None:
    """A good answer whose body hangs."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    over.wait(10)


@pytest.mark.parametrize("speak", [endless, half])
def test_of_a_body_no_more_is_read_than_a_little(speak: Callable[[socket.socket, threading.Event], None]) -> None:
    """The status is the answer."""
    began = monotonic()
    with speaking(speak) as port:
        answer = post(seconds=20).send(f"http://127.0.0.1:{port}/", SIGNED, b"{}")
        took = monotonic() - began

    assert (answer.status, answer.error) == (200, None)
    assert took < 5


def test_who_speaks_no_http_has_not_answered() -> None:
    def greets(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # closed with something unread, it would be reset
            pass

    with speaking(greets) as port:
        answer = post().send(f"http://127.0.0.1:{port}/", SIGNED, b"{}")

    assert answer.status is None
    assert "no HTTP answer" in str(answer.error)


def test_retry_after_is_heard_as_a_number_and_as_a_moment() -> None:
    with receiving() as receiver:
        asked = ["120", "Wed, 21 Oct 2065 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-5", "9" * 40]
        told = []
        for words in asked:
            receiver.reply = lambda _, words=words: (503, {"Retry-After": words})
            told.append(post().send(f"http://127.0.0.1:{receiver.port}/", SIGNED, b"{}").retry_after)

    assert told[0] == 120
    assert told[1] is not None
    assert told[1] > 1e9
    assert told[2:] == [0.0, None, None, 999_999_999.0]


def test_a_resolver_that_hangs_holds_nobody_up() -> None:
    """Looking ends in its time, and an attempt in its own."""
    over = threading.Event()

    def resolve(*_: object) -> Sequence[Address]:
        over.wait(30)
        return []

    names = Names(resolve)
    try:
        began = monotonic()
        looked = Lookout(Allowed(), names=names).look([f"https://slow{number}.example/" for number in range(10)])
        answer = post(Allowed(), names=names, seconds=1).send("https://slow.example/", SIGNED, b"{}")
        took = monotonic() - began
    finally:
        over.set()

    assert [(each.refusal, each.resolved) for each in looked] == [(None, False)] * 10
    assert answer.status is None
    assert took < 6


# --- with the outbox


@pytest.fixture
def live(redis_url: str) -> Iterator[Stores]:
    """Stores on Valkey's own clock."""
    stores = redis_jobs.connect(redis_url)
    yield stores
    stores.close()


@contextmanager
def delivering(stores: Stores, *, seconds: float = 5, pauses: tuple[float, ...] = (0.1, 0.1, 0.1)) -> Iterator[Deliverer]:
    """Somebody who sends, asked for more whenever there is room, as the API does."""
    over, wake = threading.Event(), threading.Event()
    deliverer = Deliverer(
        outbox=stores.outbox,
        secrets=stores.secrets,
        post=post(seconds=seconds),
        seconds=seconds,
        pauses=pauses,
        now=lambda: datetime.now(tz=UTC),
        freed=wake.set,
    )

    def run() -> None:
        while not over.is_set():
            wake.clear()
            deliverer.deliver()
            wake.wait(0.05)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield deliverer
    finally:
        over.set()
        thread.join()
        deliverer.stop(seconds=10)


@pytest.fixture
def telling(live: Stores, new_job: Callable[..., Job]) -> Callable[..., str]:
    """A job that has ended and tells these ports; its id."""

    def make(*ports: int, **more: Any) -> str:
        notify = tuple(Endpoint(url=f"http://127.0.0.1:{port}/{at}", events=ENDS) for at, port in enumerate(ports))
        job = submit(live, new_job(notify=notify, **more))
        live.requests.cancel(job.project, job.id)
        return job.id

    return make


def of(stores: Stores, job_id: str) -> list[Delivery]:
    return list(stores.outbox.of("default", job_id))


def is_done(stores: Stores, job_id: str) -> Callable[[], bool]:
    return lambda: all(each.state is not DeliveryState.PENDING for each in of(stores, job_id))


def test_a_receiver_verifies_what_it_gets_by_the_standards_own_library(live: Stores, telling: Callable[..., str]) -> None:
    """Also while the secret is being changed, by either."""
    old = live.secrets.of("default").current
    with receiving() as receiver, delivering(live):
        first = telling(receiver.port)
        until(is_done(live, first), seconds=10)
        new = live.secrets.rotate("default").current
        second = telling(receiver.port)
        until(is_done(live, second), seconds=10)

    one, other = receiver.came
    assert Webhook(old).verify(one.body, one.headers)["data"]["id"] == first
    for secret in (old, new):
        assert Webhook(secret).verify(other.body, other.headers)["data"]["id"] == second
    assert one.headers["content-type"] == "application/json"


def test_it_is_sent_again_under_the_same_id_until_it_is_taken(live: Stores, telling: Callable[..., str]) -> None:
    """500, a redirect, a hang; then 200. Each attempt is listed with what was wrong."""
    with receiving() as receiver, delivering(live, seconds=1):
        answers = iter([(500, {}), (302, {"Location": "/other"})])

        def reply(_: object) -> tuple[int, dict[str, str]]:
            if len(receiver.came) == 3:
                threading.Event().wait(1.5)  # longer than an attempt may take
            return next(answers, (200, {}))

        receiver.reply = reply
        job_id = telling(receiver.port)
        until(is_done(live, job_id), seconds=20)

    (delivery,) = of(live, job_id)
    assert delivery.state is DeliveryState.DELIVERED
    assert [each.status for each in delivery.attempts] == [500, 302, None, 200]
    assert [bool(each.error) for each in delivery.attempts] == [True, True, True, False]
    assert receiver.ids == [delivery.id] * 4
    assert len({each.body for each in receiver.came}) == 1
    stamps = [int(each.headers["webhook-timestamp"]) for each in receiver.came]
    assert stamps == sorted(stamps)


def test_a_receiver_that_was_killed_is_told_once_it_is_back(live: Stores, telling: Callable[..., str]) -> None:
    """At the same port, minutes later in life, a moment here."""
    with receiving() as receiver:
        port = receiver.port
    with delivering(live, pauses=(0.2,) * 50):
        job_id = telling(port)
        until(lambda: len(of(live, job_id)[0].attempts) >= 2, seconds=10)
        with receiving(port=port) as back:
            until(is_done(live, job_id), seconds=10)

    (delivery,) = of(live, job_id)
    assert delivery.attempts[0].status is None
    assert "not reached" in str(delivery.attempts[0].error)
    assert (delivery.state, back.ids) == (DeliveryState.DELIVERED, [delivery.id])


def test_it_is_given_up_after_the_last_pause_and_a_replay_begins_anew(live: Stores, telling: Callable[..., str]) -> None:
    with receiving() as receiver, delivering(live, pauses=(0.05, 0.05)):
        receiver.reply = lambda _: (503, {})
        job_id = telling(receiver.port)
        until(is_done(live, job_id), seconds=10)
        (delivery,) = of(live, job_id)
        assert (delivery.state, delivery.reason, len(delivery.attempts)) == (DeliveryState.FAILED, "Given up after 3 attempts.", 3)
        receiver.reply = lambda _: (200, {})
        live.outbox.replay("default", job_id, delivery.id)
        until(is_done(live, job_id), seconds=10)

    (delivery,) = of(live, job_id)
    assert (delivery.state, delivery.reason, len(delivery.attempts)) == (DeliveryState.DELIVERED, None, 4)
    assert set(receiver.ids) == {delivery.id}


def test_410_ends_it_at_once(live: Stores, telling: Callable[..., str]) -> None:
    with receiving() as receiver, delivering(live):
        receiver.reply = lambda _: (410, {})
        job_id = telling(receiver.port)
        until(is_done(live, job_id), seconds=10)

    (delivery,) = of(live, job_id)
    assert (delivery.state, len(delivery.attempts)) == (DeliveryState.FAILED, 1)
    assert "410" in str(delivery.reason)


def test_two_processes_deliver_each_once(live: Stores, redis_url: str, telling: Callable[..., str]) -> None:
    """Fifty jobs, two that send."""
    other = redis_jobs.connect(redis_url)
    with receiving() as receiver, delivering(live), delivering(other):
        jobs = [telling(receiver.port) for _ in range(50)]
        for job_id in jobs:
            until(is_done(live, job_id), seconds=30)
    other.close()

    assert len(receiver.came) == len(set(receiver.ids)) == 50


def test_a_sender_that_died_is_followed_by_another_with_the_same_id(live: Stores, telling: Callable[..., str]) -> None:
    """It had sent, and never said so: at least once."""
    with receiving() as receiver:
        job_id = telling(receiver.port)
        taken = live.outbox.take(lease_seconds=1, limits=Limits())
        assert taken is not None
        post().send(taken.delivery.url, {"webhook-id": taken.delivery.id}, taken.delivery.body())
        with delivering(live):
            until(is_done(live, job_id), seconds=10)

    assert receiver.ids == [taken.delivery.id] * 2
    assert len({each.body for each in receiver.came}) == 1


def test_ten_thousand_that_nobody_takes_hold_up_nobody_else(live: Stores, telling: Callable[..., str]) -> None:
    """An endpoint that hangs, with its whole queue due; another one of the same project hears within a moment, and so do many."""
    with receiving() as dead, receiving() as good:
        for _ in range(1000):
            telling(*[dead.port] * 10)
        dead.hold = threading.Event()
        with delivering(live, seconds=3):
            until(lambda: len(dead.came) >= 3, seconds=10)
            began = monotonic()
            jobs = [telling(good.port) for _ in range(20)]
            for job_id in jobs:
                until(is_done(live, job_id), seconds=10)
            took = monotonic() - began
            until(lambda: len(dead.came) >= 5, seconds=10)
            dead.hold.set()

    assert len(good.came) == 20
    assert took < 3, "the time of one attempt that hangs"

"""Sends webhooks, and looks where they lead. A name is resolved once, its addresses are checked, and the connection goes to what was checked."""

from __future__ import annotations

import email.utils
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpcore2

from service.spec.notify import Address, Place, placed
from service.webhooks.addresses import Allowed, refusal_of_all
from service.webhooks.delivery import Answer
from service.webhooks.ports import Looked

Resolve = Callable[[str, int], Sequence[Address]]
"""The addresses of a name. Raises OSError."""

LOOKUPS = 32
"""Names that are being resolved at a time; a resolver may hang for longer than anybody waits for it."""
LOOK_SECONDS = 3.0
ADDRESSES_TRIED = 4
CONNECT_SECONDS = 5.0
"""For each address."""
BODY_BYTES, BODY_SECONDS = 4096, 1.0
"""What is read of an answer after its head."""
USER_AGENT = "trainyard-webhooks/1"


class Refused(Exception):
    """The place must not be reached; the text says why."""


def system_resolve(host: str, port: int) -> Sequence[Address]:
    """As this machine resolves names. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(address[0])) for *_, address in found))


class Names:
    """Resolves names, and waits no longer than it is told to. Who submits and who sends have one each: names that hang hold up their own kind."""

    def __init__(self, resolve: Resolve = system_resolve) -> None:
        self._resolve, self._room = resolve, threading.Semaphore(LOOKUPS)

    def addresses(self, place: Place, *, seconds: float) -> Sequence[Address]:
        """The addresses of a host, itself where it is one. Raises OSError."""
        if place.address is not None:
            return [place.address]
        return self.begin(place)(seconds)

    def begin(self, place: Place) -> Callable[[float], Sequence[Address]]:
        """Start to resolve, and answer with what waits for it."""
        told: queue.SimpleQueue[Sequence[Address] | OSError] = queue.SimpleQueue()
        if self._room.acquire(blocking=False):
            threading.Thread(target=self._look_up, args=(place, told), name="resolver", daemon=True).start()
        else:
            told.put(TimeoutError("too many names are being resolved"))

        def wait(seconds: float) -> Sequence[Address]:
            try:
                found = told.get(timeout=max(0.0, seconds))
            except queue.Empty:
                raise TimeoutError(f"{place.host} was not resolved in time") from None
            if isinstance(found, OSError):
                raise found
            return found

        return wait

    def _look_up(self, place: Place, told: queue.SimpleQueue[Sequence[Address] | OSError]) -> None:
        try:
            told.put(self._resolve(place.host, place.port))
        except UnicodeError as error:  # a name that no resolver takes, as Python says it
            told.put(OSError(str(error)))
        except OSError as error:
            told.put(error)
        finally:
            self._room.release()


class Lookout:
    """The Reach port."""

    def __init__(self, allowed: Allowed, *, names: Names) -> None:
        self._allowed, self._names = allowed, names

    def look(self, urls: Sequence[str]) -> Sequence[Looked]:
        """For each, within a few seconds."""
        until = time.monotonic() + LOOK_SECONDS
        places = [placed(url) for url in urls]
        waits = {place.host: self._names.begin(place) for place in places if place.address is None}
        known: dict[str, Sequence[Address]] = {}
        for host, wait in waits.items():
            try:
                known[host] = wait(until - time.monotonic())
            except OSError:
                known[host] = ()
        return [self._looked(place, known.get(place.host) if place.address is None else [place.address]) for place in places]

    def _looked(self, place: Place, addresses: Sequence[Address] | None) -> Looked:
        if not addresses:
            return Looked(resolved=False)
        return Looked(refusal=refusal_of_all(place, addresses, self._allowed))


class HttpPost:
    """The Post port. One connection for each attempt; proxies of the environment are not asked, redirects not followed."""

    def __init__(self, allowed: Allowed, *, names: Names, seconds: float, ca_file: Path | None = None) -> None:
        """`seconds` is for an attempt in all; `ca_file` has certificates of authorities besides the system's."""
        self._allowed, self._names, self._seconds = allowed, names, seconds
        self._trust = ssl.create_default_context()
        if ca_file is not None:
            self._trust.load_verify_locations(cafile=ca_file)

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST, once: no redirect is followed, nothing is reached that must not be."""
        began, place = time.monotonic(), placed(url)
        backend = _Checked(place, self._allowed, names=self._names, until=began + self._seconds)
        sent = [("Content-Type", "application/json"), ("User-Agent", USER_AGENT), ("Connection", "close"), *headers.items()]
        status: int | None = None
        error: str | None = None
        retry_after: float | None = None
        try:
            with (
                httpcore2.ConnectionPool(ssl_context=self._trust, network_backend=backend) as pool,
                pool.stream("POST", f"{place.origin}{place.rest or '/'}", headers=sent, content=body) as answer,
            ):
                status, retry_after = answer.status, _retry_after(answer.headers)
                error = _said(answer.status)
                backend.hurry()
                _read_some(answer)
        except (Refused, httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as failure:
            status, error = None, _words(failure, seconds=self._seconds)
        return Answer(seconds=time.monotonic() - began, status=status, error=error, retry_after=retry_after)


class _Checked(httpcore2.SyncBackend):
    """Connects to the addresses of one place, after they were checked; the name is for the certificate and the Host header only."""

    def __init__(self, place: Place, allowed: Allowed, *, names: Names, until: float) -> None:
        super().__init__()
        self._place, self._allowed, self._names, self._until = place, allowed, names, until

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002  # the place's
        port: int,
        timeout: float | None = None,  # noqa: ARG002  # the attempt's is all that counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection to the first address that answers. Raises Refused where one of them must not be reached."""
        try:
            addresses = self._names.addresses(self._place, seconds=self._left())
        except OSError as error:
            raise httpcore2.ConnectError(f"its name has no address now: {error}") from error
        if (why := refusal_of_all(self._place, addresses, self._allowed)) is not None:
            raise Refused(f"Not sent: {why}.")
        failure: Exception = httpcore2.ConnectError("its name has no address")
        for address in addresses[:ADDRESSES_TRIED]:
            try:
                seconds = min(CONNECT_SECONDS, self._left())
                stream = super().connect_tcp(
                    str(address), port, timeout=seconds, local_address=local_address, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _Timed(stream, self._left)
        raise failure

    def hurry(self) -> None:
        """What matters is there."""
        self._until = min(self._until, time.monotonic() + BODY_SECONDS)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout
        return left


class _Timed(httpcore2.NetworkStream):
    """A connection whose every wait ends when the attempt does: who sends a byte now and then gains nothing by it."""

    def __init__(self, stream: httpcore2.NetworkStream, left: Callable[[], float]) -> None:
        self._stream, self._left = stream, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._left()), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _said(status: int) -> str | None:
    """What was wrong by the answer. Nothing of its body is told: where the operator allows a network inside, nobody reads it this way."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}, a redirect: it is not followed. Give the URL that it leads to."
    return f"answered {status}"


def _read_some(answer: httpcore2.Response) -> None:
    """Let the other side finish, as far as it is quick and brief; what its status says holds all the same."""
    read = 0
    with suppress(httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError):
        for chunk in answer.iter_stream():
            read += len(chunk)
            if read >= BODY_BYTES:
                break


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    """Seconds (RFC 9110, 10.2.3): a number, or a moment."""
    value = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(tz=UTC)).total_seconds())


def _words(failure: Exception, *, seconds: float) -> str:
    match failure:
        case Refused():
            return str(failure)
        case httpcore2.TimeoutException() | TimeoutError():
            return f"no answer within {seconds:g} s"
        case httpcore2.ProtocolError():
            return f"what came is no HTTP answer ({failure})"
        case _:
            return f"not reached ({failure})"

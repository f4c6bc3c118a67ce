"""What the doctor finds: each check can be bad, and then names a cure."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.adapters import bubblewrap
from service.client import doctor
from service.client.doctor import Finding
from service.client.sdk import Client
from service.local import CannotStart

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def no_valkey() -> str:
    raise CannotStart("There is no Valkey server here. Install one.")


def beat(**versions: str) -> dict[str, Any]:
    return {"name": "w", "versions": {"trainyard": version("trainyard"), **versions}}


BAD: dict[str, tuple[Callable[[Path], Finding], str]] = {
    "an old Python": (lambda _: doctor.python((3, 10, 2)), "3.11"),
    "no torch": (lambda _: doctor.package("no-such-package"), "make install"),
    "a torch that does not load": (lambda _: doctor.torch_imports([sys.executable, "-c", "raise ImportError('libgomp')"]), "make install"),
    "no bubblewrap": (
        lambda _: doctor.containment("Bubblewrap is not installed: install the package bubblewrap.", {}),
        "install the package",
    ),
    "no Valkey": (lambda _: doctor.binary("Valkey", no_valkey), "Install one"),
    "data that are not there": (lambda folder: doctor.datasets(str(folder / "none")), "TRAINYARD_DATASETS_DIR"),
    "a long TMPDIR": (lambda _: doctor.temporary_folder("/" + 70 * "x"), "TMPDIR"),
    "a TMPDIR that is not there": (lambda folder: doctor.temporary_folder(f"/{folder.name[:9]}/no"), "TMPDIR"),
    "few open files": (lambda _: doctor.open_files(256), "ulimit -n"),
    "a clock that is off": (lambda _: doctor.clock(NOW - timedelta(minutes=5), NOW), "NTP"),
    "no worker": (lambda _: doctor.workers([]), "trainyard worker"),
    "workers of two torches": (lambda _: doctor.workers([beat(torch="2.13.0"), beat(torch="2.12.0")]), "one version"),
    "workers of another Trainyard": (lambda _: doctor.workers([{"name": "w", "versions": {"trainyard": "0.0.9"}}]), "one version"),
}
GOOD: dict[str, Callable[[Path], Finding]] = {
    "Python": lambda _: doctor.python(sys.version_info[:3]),
    "a package": lambda _: doctor.package("pytest"),
    "torch": lambda _: doctor.torch_imports([sys.executable, "-c", "print('2.13.0', 1)"]),
    "bubblewrap": lambda _: doctor.containment(None, {}),
    "no bubblewrap, and nobody wants one": lambda _: doctor.containment("It is not installed.", {"TRAINYARD_UNCONTAINED_CODE": "true"}),
    "Valkey": lambda _: doctor.binary("Valkey", lambda: "/usr/bin/valkey-server"),
    "downloads": lambda _: doctor.datasets(None),
    "data": lambda folder: doctor.datasets(str(folder)),
    "TMPDIR": lambda _: doctor.temporary_folder("/dev/shm"),  # noqa: S108  # short, and every Linux has it
    "open files": lambda _: doctor.open_files(resource.RLIM_INFINITY),
    "the clock": lambda _: doctor.clock(NOW, NOW + timedelta(seconds=3)),
    "workers": lambda _: doctor.workers([beat(torch="2.13.0"), beat(torch="2.13.0")]),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_found_with_its_cure(tmp_path: Path, what: str):
    """Each check sees it, and says in words how to mend it."""
    look, cure = BAD[what]

    finding = look(tmp_path)

    assert not finding.ok
    assert cure in finding.cure
    assert finding.seen


@pytest.mark.parametrize("what", GOOD)
def test_what_is_well_is_left_alone(tmp_path: Path, what: str):
    """The same checks of something sound."""
    assert GOOD[what](tmp_path).ok


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Less than is needed is bad; the figure is shown as people read it."""
    monkeypatch.setattr(doctor, "FREE_BYTES", 1e18)

    finding = doctor.room(tmp_path)

    assert not finding.ok
    assert "B free in" in finding.seen
    assert "Free some space" in finding.cure


def test_a_port_that_is_taken():
    """Somebody listens there: another is named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finding = doctor.free_port(port)

    assert not finding.ok
    assert f"--port {port + 1}" in finding.cure
    assert doctor.free_port(port).ok


def test_bubblewrap_here_is_what_the_worker_finds():
    """The doctor asks the very function that decides whether custom code runs."""
    assert doctor.containment(bubblewrap.unavailable(), {}).ok == (bubblewrap.unavailable() is None)


def examined(answer: Callable[[httpx2.Request], httpx2.Response]) -> dict[str, Finding]:
    client = Client("http://trainyard.test")
    client.close()
    client._http = httpx2.Client(base_url=client.url, transport=httpx2.MockTransport(answer))
    return {finding.name: finding for finding in doctor.service(client, port=0)}


def served(request: httpx2.Request, *, store: str = "ok", key: bool = True) -> httpx2.Response:
    match request.url.path:
        case "/readyz":
            return httpx2.Response(200, json={"parts": {"store": store, "storage": "ok", "workers": 1}})
        case "/healthz":
            return httpx2.Response(200, json={}, headers={"Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")})
        case _ if key:
            return httpx2.Response(200, json={"data": [beat(torch="2.13.0")]})
        case _:
            return httpx2.Response(401, json={"detail": "The key is not this service's."})


def test_a_service_that_is_well():
    """Ready, in time, with the right key and a worker."""
    found = examined(served)

    assert [(name, finding.ok) for name, finding in found.items()] == [(name, True) for name in ("service", "clock", "API key", "workers")]


def test_a_part_of_the_service_that_is_not_well():
    """The part is named."""
    finding = examined(lambda request: served(request, store="does not answer"))["service"]

    assert not finding.ok
    assert "store does not answer" in finding.seen


def test_a_wrong_key():
    """Refused: where a key is to be written is said."""
    finding = examined(lambda request: served(request, key=False))["API key"]

    assert not finding.ok
    assert "TRAINYARD_API_KEY" in finding.cure


def test_another_server_at_the_address():
    """Some other program: not ours, and no word about keys."""
    finding = examined(lambda _: httpx2.Response(200, text="<html>"))["service"]

    assert not finding.ok
    assert "--url" in finding.cure


def test_nobody_at_the_address():
    """Nobody: how to start one, and whether the port is free for it."""

    def nobody(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    found = examined(nobody)

    assert not found["service"].ok
    assert "trainyard up" in found["service"].cure
    assert "port" in found

"""Receivers of webhooks for tests: real HTTP servers on loopback, with a certificate of an authority made for the run where they speak HTTPS."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Reply = Callable[["Received"], tuple[int, dict[str, str]]]


@dataclass(frozen=True)
class Received:
    """One POST."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came so far. `reply` answers: status and headers; `hold` keeps answers back until it is set."""

    port: int
    came: list[Received] = field(default_factory=list)
    reply: Reply = lambda _: (204, {})
    hold: threading.Event | None = None
    connections: int = 0

    @property
    def ids(self) -> list[str]:
        """The webhook-ids, in the order in which they came."""
        return [each.headers["webhook-id"] for each in self.came]


@contextmanager
def receiving(*, certificate: Path | None = None, port: int = 0) -> Iterator[Receiver]:
    """A receiver on a free port; with a certificate it speaks HTTPS."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received = Received(path=self.path, headers={name.lower(): value for name, value in self.headers.items()}, body=body)
            receiver.came.append(received)
            if receiver.hold is not None:
                receiver.hold.wait(60)
            status, headers = receiver.reply(received)
            self.send_response(status)
            for name, value in ({"Content-Length": "0"} | headers).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[object, object]:
            receiver.connections += 1
            return super().get_request()

        def handle_error(self, *_: object) -> None:
            """Who hangs up is none of the test's business."""

    server = Server(("127.0.0.1", port), Handler)
    receiver = Receiver(port=server.server_port)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Authority:
    """Somebody who signs certificates: `certificate` for who believes them."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """The authority's own, PEM."""
        return self.folder / "ca.pem"

    def for_host(self, name: str) -> Path:
        """A certificate for a host with its key, PEM."""
        key, asked, given = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", asked, "-subj", f"/CN={name}")
        more = self.folder / f"{name}.ext"
        more.write_text(f"subjectAltName=DNS:{name}\n")
        signer = ("-CA", self.certificate, "-CAkey", self.folder / "ca.key", "-CAcreateserial")
        _openssl("x509", "-req", "-in", asked, *signer, "-days", "2", "-extfile", more, "-out", given)
        given.write_text(given.read_text() + key.read_text())
        return given


def authority(folder: Path) -> Authority:
    """A fresh one."""
    made = Authority(folder)
    options = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=An authority for tests")
    _openssl("req", "-x509", *options, "-keyout", folder / "ca.key", "-out", made.certificate)
    return made


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

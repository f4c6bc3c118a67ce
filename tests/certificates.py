"""A certificate authority of the tests' own, by the `openssl` command; and a TLS terminator before a server that speaks none itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import free_port


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs what a test asks for. `certificate` is what clients are told to trust."""

    def __init__(self, folder: Path, *, name: str = "Tests") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self.certificate, self._key = folder, folder / "ca.pem", folder / "ca.key"
        about = ["-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        _openssl("req", "-x509", *_new_key(self._key), "-out", self.certificate, "-days", "2", *about)

    def sign(self, name: str, *hosts: str, days: int = 2) -> Signed:
        """A certificate for hosts (`DNS:localhost`, `IP:127.0.0.1`); a negative number of days makes one that has expired."""
        request, signed = self._folder / f"{name}.csr", Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(hosts or ['DNS:localhost', 'IP:127.0.0.1'])}\n")
        _openssl("req", *_new_key(signed.key), "-out", request, "-subj", f"/CN={name}")
        by = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"]
        _openssl("x509", "-req", "-in", request, "-out", signed.certificate, "-days", str(days), "-extfile", extensions, *by)
        return signed


def self_signed(folder: Path) -> Signed:
    """A certificate that nobody vouches for."""
    folder.mkdir(parents=True, exist_ok=True)
    signed = Signed(folder / "self.pem", folder / "self.key")
    names = ["-subj", "/CN=self", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    _openssl("req", "-x509", *_new_key(signed.key), "-out", signed.certificate, "-days", "2", *names)
    return signed


def _new_key(path: Path) -> list[str | Path]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path]


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def terminated(port: int, signed: Signed, *, clients: Path | None = None) -> Iterator[int]:
    """A port that speaks TLS, before one that does not. With `clients`, only who shows a certificate of that authority is let in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(signed.certificate, signed.key)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    front, stop, ready = free_port(), threading.Event(), threading.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind = await asyncio.open_connection("127.0.0.1", port)
            try:
                await asyncio.gather(_pump(reader, behind[1]), _pump(behind[0], writer))
            finally:
                behind[1].transport.abort()
        except ConnectionRefusedError:
            pass  # it has ended
        finally:  # also where this ends while it connects
            writer.transport.abort()

    async def serve() -> None:
        server = await asyncio.start_server(relay, "127.0.0.1", front, ssl=context)
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.close()
        for _ in range(500):
            if not server._active_count:  # type: ignore[attr-defined]  # before Python 3.12 wait_closed waits for nobody
                break
            await asyncio.sleep(0.01)  # who is cut off before they have begun closes nothing
            for other in asyncio.all_tasks() - {asyncio.current_task()}:
                other.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="tls")
    thread.start()
    try:
        assert ready.wait(10)
        yield front
    finally:
        stop.set()
        thread.join()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()

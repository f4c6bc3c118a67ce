"""The files of TLS, looked at before anybody connects: what they hold, and how a Redis URL names them."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit


def with_certificates(url: str, *, ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> str:
    """The URL of a Redis with the files beside it, as both redis-py and kombu read them. Raises ValueError naming the variable and the cure."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError("a Redis is named by redis://USER:PASSWORD@HOST:PORT/0, or by rediss:// where TLS is spoken")
    if parts.scheme == "redis":
        return url
    if (cert_file is None) != (key_file is None):
        raise ValueError("REDIS_CERT_FILE and REDIS_KEY_FILE belong together: give both, or neither")
    context = ssl.create_default_context() if ca_file is None else trusting("REDIS_CA_FILE", ca_file)
    if cert_file is not None and key_file is not None:
        _show(context, cert_file, key_file)
    # kombu checks no certificate unless it is told to
    told = {"ssl_cert_reqs": "required", "ssl_ca_certs": ca_file, "ssl_certfile": cert_file, "ssl_keyfile": key_file}
    query = {name: str(value) for name, value in told.items() if value is not None} | dict(parse_qsl(parts.query))
    return parts._replace(query=urlencode(query, safe="/")).geturl()


def trusting(variable: str, path: Path) -> ssl.SSLContext:
    """A context that trusts a file's authorities. Raises ValueError."""
    try:
        return ssl.create_default_context(cafile=str(path))
    except OSError as error:  # SSLError is one
        raise ValueError(f"{variable} names {path}, {_wrong(error, 'certificate in PEM (-----BEGIN CERTIFICATE-----)')}") from error


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:
        raise ValueError(
            f"REDIS_CERT_FILE and REDIS_KEY_FILE name {certificate} and {key}, {_wrong(error, 'certificate with its key, in PEM, not encrypted')}"
        ) from error


def _wrong(error: OSError, wanted: str) -> str:
    return f"which is no {wanted}" if isinstance(error, ssl.SSLError) else f"which cannot be read ({error.strerror})"

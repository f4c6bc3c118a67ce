"""Who is told of a job by a webhook, and the grammar of such a URL. What may be reached is `service.webhooks.addresses`'s to say."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from service.spec.catalog import Closed

Event = Literal["running", "paused", "succeeded", "failed", "cancelled"]
ENDS: tuple[Event, ...] = ("succeeded", "failed", "cancelled")
MOST, LONGEST = 10, 2000
"""Endpoints of a job; characters of a URL."""
HIDDEN = "/\N{HORIZONTAL ELLIPSIS}"
"""Stands for path and query where a URL is shown: they often are the receiver's secret."""
PORTS = {"https": 443, "http": 80}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PARTS = re.compile(r"(https?)://([^/?#]*)([^#]*)")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A URL taken apart, so that nobody reads it in another way. `host` is a name in lower case or an address, without brackets."""

    scheme: str
    host: str
    port: int
    rest: str

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    @property
    def address(self) -> Address | None:
        """The address, where the host is one and no name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def placed(url: str) -> Place:
    """The URL taken apart. Raises PydanticCustomError with what is wrong, the cure, and where one is plain the right URL."""
    if any(not 0x21 <= ord(each) <= 0x7E for each in _visible(url)) or "\\" in url:
        raise _beyond_ascii(url)
    found = _PARTS.match(url)
    if found is None:
        raise _bad("This is no https:// URL.", "Write it whole, as https://hooks.example.com/trainyard.", _meant(url))
    scheme, authority, rest = found.groups()
    if found.end() != len(url):
        raise _bad("A fragment (#...) is never sent.", "Leave it out.", url[: found.end()])
    if "@" in authority:
        raise _bad(
            "A URL with a user or a password in it is not taken.", "The receiver checks the signature; or put a token into the path."
        )
    host, port = _host_and_port(authority, scheme)
    return Place(scheme=scheme, host=_host(host, url), port=port, rest=rest)


def _visible(url: str) -> str:
    """But for what stands for a hidden path."""
    return url.removesuffix(HIDDEN)


def _bad(detail: str, cure: str, meant: str | None = None) -> PydanticCustomError:
    return PydanticCustomError("bad_url", "{detail}", {"detail": detail, "cure": cure, "meant": meant})


def _meant(url: str) -> str | None:
    """The same with a scheme as we read it, where it has one."""
    scheme, colon, rest = url.partition("://")
    return f"{scheme.lower()}://{rest}" if colon and scheme.lower() in PORTS and scheme != scheme.lower() else None


def _beyond_ascii(url: str) -> PydanticCustomError:
    scheme, _, after = url.partition("://")
    host = re.split(r"[/?#:]", after, maxsplit=1)[0]
    try:
        written = host.encode("idna").decode()
    except UnicodeError:
        written = host
    meant = f"{scheme}://{written}{after[len(host) :]}"
    is_name = written != host and meant.isascii() and meant.isprintable() and " " not in meant
    cure = "Write the name as IDNA does." if is_name else "Escape them with %, as browsers do."
    return _bad("A URL consists of visible ASCII characters, without backslashes.", cure, meant if is_name else None)


def _host_and_port(authority: str, scheme: str) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?", authority)
    if found is None:
        raise _bad("What stands between :// and the path is no host, nor a host and a port.", "As in https://hooks.example.com:8443/.")
    port = found[2]
    if port is None:
        return found[1], PORTS[scheme]
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise _bad(f"{port or 'nothing'} is no port.", "A port is a number from 1 to 65535; left out, it is 443.")
    return found[1], int(port)


def _host(host: str, url: str) -> str:
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise _bad(f"{host} is no IPv6 address, or has a zone.", "As in https://[2001:db8::1]/, or give a name.")
        return str(address)
    name = host.lower()
    if name.endswith("."):
        raise _bad("The host's name ends in a dot.", "Leave the dot out.", url.replace(host, host.rstrip("."), 1))
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise _bad(f"{name} is no IPv4 address.", "Four numbers from 0 to 255, without leading zeros; or give a name.") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad(f"{name or 'nothing'} is no host's name.", "Labels of letters, digits and hyphens, joined by dots.")
    return name


def _is_url(url: str) -> str:
    placed(url)
    return url


class Notify(Closed):
    """Somebody who is told: a signed POST to `url` for each of `events`, tried again until it is taken."""

    url: Annotated[str, Field(strict=True, max_length=LONGEST), AfterValidator(_is_url)] = Field(
        description="Where to; https, or http where the operator allows the host. Path and query are shown to nobody once the job is queued."
    )
    events: Annotated[tuple[Event, ...], Field(min_length=1, max_length=10)] = Field(
        default=ENDS, description="The states to tell of; left out, the three that end a job."
    )


def hidden(url: str) -> str:
    """The URL as it is shown: where to, without path and query."""
    return placed(url).origin + HIDDEN


def is_hidden(url: str) -> bool:
    """Whether it was shown so, and says no more where to."""
    return url.endswith(HIDDEN)


def with_hidden(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec that can be shown. `notify` has been read without a fault."""
    if not spec.get("notify"):
        return dict(spec)
    return {**spec, "notify": [{**endpoint, "url": hidden(endpoint["url"])} for endpoint in spec["notify"]]}


def twice(endpoints: Sequence[Notify]) -> list[int]:
    """Places of those whose URL stood there before."""
    urls = [endpoint.url for endpoint in endpoints]
    return [at for at, url in enumerate(urls) if url in urls[:at]]

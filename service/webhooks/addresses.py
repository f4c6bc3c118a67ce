"""What a webhook may reach: the one place with the rules of addresses. Pure; the same rules hold at POST and on the address that is connected to.

The networks are those of IANA's special-purpose registries (RFC 6890 and its successors), and what clouds keep for themselves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from service.spec.notify import Address, Place

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = (443, 8443)
"""Of hosts that the operator did not name; others speak something else than HTTPS, or are nobody's business."""
_CLOSED: Sequence[tuple[str, str]] = (
    ("0.0.0.0/8", "this host"),
    ("10.0.0.0/8", "a private network"),
    ("100.64.0.0/10", "a provider's own network (CGNAT)"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "a cloud's own service"),
    ("169.254.0.0/16", "link-local, where clouds keep metadata"),
    ("172.16.0.0/12", "a private network"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "a relay"),
    ("192.168.0.0/16", "a private network"),
    ("198.18.0.0/15", "benchmarks"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "this host"),
    ("::1/128", "loopback"),
    ("fc00::/7", "a private network"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "a private network"),
    ("ff00::/8", "multicast"),
    ("2001::/23", "a tunnel, or reserved"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "a tunnel (6to4)"),
    ("3fff::/20", "documentation"),
)
_NETWORKS = [(ipaddress.ip_network(network), what) for network, what in _CLOSED]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_MAPPED, _NAT64 = ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96")


def plain(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped or a NAT64 one (RFC 6052) stands for; another one is itself."""
    if isinstance(address, ipaddress.IPv6Address) and (address in _MAPPED or address in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def closed(address: Address) -> str | None:
    """What kind of address this is, where it is none of the public Internet's."""
    address = plain(address)
    for network, what in _NETWORKS:
        if address in network:
            return what
    return "reserved" if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST else None


@dataclass(frozen=True)
class Allowed:
    """What the operator allows besides: hosts by name, whatever they resolve to, and networks. Any port there, and http."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `10.0.0.0/8,hooks.lan`. Raises ValueError."""
        words = [word for word in (each.strip().lower() for each in text.split(",")) if word]
        networks = {word: found for word in words if (found := _network(word)) is not None}
        for name in (word for word in words if word not in networks):
            if not all(each.isalnum() or each in "-_." for each in name) or name.rpartition(".")[2].isdigit():
                raise ValueError(f"{name} is neither a host's name nor a network: 10.0.0.0/8, say, or hooks.lan")
        return cls(frozenset(words) - set(networks), tuple(networks.values()))

    def has(self, place: Place, address: Address) -> bool:
        """Whether this address may be reached under this name."""
        return place.host in self.names or any(plain(address) in network or address in network for network in self.networks)


def _network(word: str) -> Network | None:
    try:
        return ipaddress.ip_network(word)
    except ValueError:
        return None


def refusal(place: Place, address: Address, allowed: Allowed) -> str | None:
    """Why a webhook to `place` may not connect to `address`; None where it may."""
    if allowed.has(place, address):
        return None
    if (what := closed(address)) is not None:
        # which address an inside name has is nobody's business: it is not told
        return f"its address is not one of the public Internet ({what})"
    if place.scheme != "https":
        return "without https anybody on the way can read and change what is sent"
    if place.port not in PORTS:
        return f"port {place.port} is not {' or '.join(map(str, PORTS))}"
    return None


def refusal_of_all(place: Place, addresses: Sequence[Address], allowed: Allowed) -> str | None:
    """Why a name that stands for these addresses may not be reached: one that is closed among others is enough."""
    return next((why for address in addresses if (why := refusal(place, address, allowed)) is not None), None)

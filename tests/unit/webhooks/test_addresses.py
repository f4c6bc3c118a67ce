"""What a webhook may reach, form by form."""

from __future__ import annotations

import ipaddress
import random

import pytest
from pydantic_core import PydanticCustomError

from service.spec.notify import placed
from service.webhooks.addresses import Allowed, closed, refusal, refusal_of_all

NOBODY = Allowed()

NOT_READ = """
hooks.example.com                       no scheme
//hooks.example.com/x                   no scheme
ftp://hooks.example.com/x               scheme
file:///etc/passwd                      scheme
gopher://hooks.example.com/_x           scheme
javascript:alert(1)                     scheme
HTTPS://hooks.example.com/              scheme in capitals
https:/hooks.example.com/               one slash
https:///hooks.example.com/             no host
https://                                no host
https://:443/                           no host
https://user@hooks.example.com/         userinfo
https://user:secret@hooks.example.com/  userinfo
https://hooks.example.com@10.0.0.1/     userinfo that looks like a host
https://10.0.0.1#@hooks.example.com/    fragment
https://hooks.example.com/#part         fragment
https://hooks.example.com\\@10.0.0.1/   backslash
https://hooks.example.com:/             empty port
https://hooks.example.com:0/            port 0
https://hooks.example.com:0443/         port with a leading zero
https://hooks.example.com:65536/        port too high
https://hooks.example.com:443:80/       two ports
https://hooks.example.com:https/        port by name
https://hooks.example.com./             trailing dot
https://localhost./                     trailing dot
https://127.0.0.1./                     trailing dot
https://hooks..example.com/             empty label
https://-hooks.example.com/             label that begins with a hyphen
https://hooks.exam%70le.com/            escaped host
https://hooks_example.com%2e/           escaped dot
https://bücher.example/                 not ASCII
https://1\uff127.0.0.1/                 full-width digit
https://hooks。example.com/             ideographic dot
https://2130706433/                     decimal IPv4
https://0x7f000001/                     hexadecimal IPv4
https://0X7F.1/                         hexadecimal IPv4
https://017700000001/                   octal IPv4
https://0177.0.0.1/                     octal IPv4
https://127.1/                          short IPv4
https://127.0.1/                        short IPv4
https://127.0.0.01/                     leading zero
https://256.0.0.1/                      no IPv4
https://1.2.3.4.5/                      no IPv4
https://hooks.example.0x1/              ends in a number
https://[::1/                           bracket open
https://::1/                            no brackets
https://[127.0.0.1]/                    brackets around IPv4
https://[fe80::1%25eth0]/               zone
https://[fe80::1%eth0]/                 zone
https://[v1.x]/                         future address
https://[::1]x/                         after the bracket
https://hooks.example.com/a b           space
https://hooks.example.com/\tx           tab
https://hooks.example.com/é             not ASCII
"""
REFUSED = """
http://hooks.example.com/        93.184.216.34                    no https
https://hooks.example.com:22/    93.184.216.34                    port
https://hooks.example.com:80/    93.184.216.34                    port
https://hooks.example.com:6379/  93.184.216.34                    port
https://127.0.0.1/               127.0.0.1                        loopback
https://localhost/               127.0.0.1                        loopback
https://rebound.example/         127.8.9.10                       loopback
https://0.0.0.0/                 0.0.0.0                          this host
https://10.1.2.3/                10.1.2.3                         private
https://172.16.0.1/              172.16.0.1                       private
https://172.31.255.255/          172.31.255.255                   private
https://192.168.1.1/             192.168.1.1                      private
https://100.64.0.1/              100.64.0.1                       CGNAT
https://100.100.100.200/         100.100.100.200                  metadata
https://169.254.169.254/         169.254.169.254                  metadata
https://168.63.129.16/           168.63.129.16                    metadata
https://192.0.0.192/             192.0.0.192                      metadata
https://192.0.2.1/               192.0.2.1                        documentation
https://198.18.0.1/              198.18.0.1                       benchmarks
https://198.51.100.1/            198.51.100.1                     documentation
https://203.0.113.1/             203.0.113.1                      documentation
https://192.88.99.1/             192.88.99.1                      6to4 relay
https://224.0.0.1/               224.0.0.1                        multicast
https://240.0.0.1/               240.0.0.1                        reserved
https://255.255.255.255/         255.255.255.255                  broadcast
https://[::]/                    ::                               this host
https://[::1]/                   ::1                              loopback
https://[0:0:0:0:0:0:0:1]/       ::1                              loopback
https://[::ffff:127.0.0.1]/      ::ffff:127.0.0.1                 mapped
https://[::ffff:7f00:1]/         ::ffff:7f00:1                    mapped
https://[::ffff:a9fe:a9fe]/      ::ffff:169.254.169.254           mapped
https://[::127.0.0.1]/           ::127.0.0.1                      compatible
https://[64:ff9b::127.0.0.1]/    64:ff9b::127.0.0.1               NAT64
https://[64:ff9b::a9fe:a9fe]/    64:ff9b::a9fe:a9fe               NAT64
https://[64:ff9b:1::1]/          64:ff9b:1::1                     local NAT64
https://[2002:7f00:1::]/         2002:7f00:1::                    6to4
https://[2001:0:1::1]/           2001:0:1::1                      Teredo
https://[2001:db8::1]/           2001:db8::1                      documentation
https://[3fff::1]/               3fff::1                          documentation
https://[fc00::1]/               fc00::1                          private
https://[fd00:ec2::254]/         fd00:ec2::254                    metadata
https://[fe80::1]/               fe80::1                          link-local
https://[fec0::1]/               fec0::1                          site-local
https://[ff02::1]/               ff02::1                          multicast
https://[100::1]/                100::1                           discard
https://[4000::1]/               4000::1                          not assigned
"""
TAKEN = """
https://hooks.example.com                      93.184.216.34
https://hooks.example.com/a/b?c=d&e=%20        93.184.216.34
https://Hooks.Example.COM/                     93.184.216.34
https://hooks.example.com:443/                 93.184.216.34
https://hooks.example.com:8443/                93.184.216.34
https://xn--bcher-kva.example/                 93.184.216.34
https://1.1.1.1/                               1.1.1.1
https://172.15.0.1/                            172.15.0.1
https://172.32.0.1/                            172.32.0.1
https://100.63.255.255/                        100.63.255.255
https://[2606:4700::1111]/                     2606:4700::1111
https://[64:ff9b::808:808]/                    64:ff9b::808:808
https://[::ffff:8.8.8.8]/                      ::ffff:8.8.8.8
https://hooks.example.com?x=1                  93.184.216.34
https://a_b.example.com/                       93.184.216.34
https://hooks.example.com//a                   93.184.216.34
https://hooks.example.com/@x                   93.184.216.34
"""


def rows(table: str) -> list[list[str]]:
    return [line.split("  ") for line in table.strip().splitlines()]


@pytest.mark.parametrize("url", [row[0] for row in rows(NOT_READ)])
def test_what_might_be_read_in_two_ways_is_not_read_at_all(url: str) -> None:
    with pytest.raises(PydanticCustomError) as told:
        placed(url)

    assert told.value.context["cure"]


@pytest.mark.parametrize(("url", "address"), [[cell.strip() for cell in line.split()[:2]] for line in REFUSED.strip().splitlines()])
def test_what_is_not_public_is_refused(url: str, address: str) -> None:
    """Whichever name it stands behind."""
    assert refusal(placed(url), ipaddress.ip_address(address), NOBODY)


@pytest.mark.parametrize(("url", "address"), [line.split() for line in TAKEN.strip().splitlines()])
def test_what_is_public_is_taken(url: str, address: str) -> None:
    assert refusal(placed(url), ipaddress.ip_address(address), NOBODY) is None


def test_one_closed_address_among_public_ones_is_enough() -> None:
    """Whoever connects may take either."""
    both = [ipaddress.ip_address("93.184.216.34"), ipaddress.ip_address("10.0.0.1")]

    assert refusal_of_all(placed("https://hooks.example.com/"), both, NOBODY)
    assert refusal_of_all(placed("https://hooks.example.com/"), both[:1], NOBODY) is None


def test_a_refusal_does_not_say_the_address() -> None:
    """Else anybody could ask for the addresses of names inside."""
    why = refusal(placed("https://db.corp.example/"), ipaddress.ip_address("10.20.30.40"), NOBODY)

    assert why is not None
    assert "10.20" not in why


@pytest.mark.parametrize(
    ("allowed", "url", "address", "taken"),
    [
        ("10.0.0.0/8", "https://hooks.lan/", "10.1.2.3", True),
        ("10.0.0.0/8", "http://hooks.lan:9000/", "10.1.2.3", True),
        ("10.0.0.0/8", "https://hooks.lan/", "11.1.2.3", True),
        ("10.0.0.0/8", "http://hooks.lan/", "11.1.2.3", False),
        ("10.0.0.0/8", "https://hooks.lan/", "192.168.0.1", False),
        ("10.0.0.0/8", "https://[::ffff:10.1.2.3]/", "::ffff:10.1.2.3", True),
        ("hooks.lan", "http://hooks.lan:9000/x", "192.168.0.1", True),
        ("hooks.lan", "http://HOOKS.lan/x", "127.0.0.1", True),
        ("hooks.lan", "https://evil.hooks.lan/", "192.168.0.1", False),
        ("hooks.lan", "https://hooks.lan.evil.example/", "192.168.0.1", False),
        ("fd00::/8, 127.0.0.1", "http://[fd00::1]:8080/", "fd00::1", True),
        ("fd00::/8, 127.0.0.1", "http://127.0.0.1:8080/", "127.0.0.1", True),
        ("fd00::/8, 127.0.0.1", "http://127.0.0.2:8080/", "127.0.0.2", False),
        ("", "https://10.0.0.1/", "10.0.0.1", False),
    ],
)
def test_the_operator_may_allow_more(allowed: str, url: str, address: str, taken: bool) -> None:
    assert (refusal(placed(url), ipaddress.ip_address(address), Allowed.parse(allowed)) is None) is taken


@pytest.mark.parametrize("words", ["10.0.0.1/8", "10.0.0.0/99", "https://hooks.lan", "hooks lan", "*", "*.lan", "1.2.3"])
def test_an_operator_who_cannot_mean_it_is_told(words: str) -> None:
    """A host's bits set, a URL, a pattern: nothing is guessed."""
    with pytest.raises(ValueError, match="neither"):
        Allowed.parse(words)


def test_whatever_python_calls_private_is_closed() -> None:
    """Against its own table, at random, and at the edges of each of ours."""
    lot = random.Random(7)
    drawn = [ipaddress.IPv4Address(lot.getrandbits(32)) for _ in range(20_000)]
    drawn += [ipaddress.IPv6Address(lot.getrandbits(128) >> lot.choice((0, 0, 16, 64))) for _ in range(20_000)]

    opened = [address for address in drawn if closed(address) is None]

    assert len(opened) > 10_000
    assert [address for address in opened if not address.is_global] == []

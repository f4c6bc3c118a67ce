"""A second host: a network namespace behind a router of its own, whose ways to single servers of ours are cut and healed. Needs root and iproute2."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field


def why_not() -> str | None:
    """Why no namespace is to be had here; None where one is."""
    if shutil.which("ip") is None:
        return "the `ip` command is missing (Debian: apt-get install iproute2)"
    name = f"ty-probe-{secrets.token_hex(3)}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return f"network namespaces are not allowed here: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return None


@dataclass
class FarHost:
    """The namespace `name`. The servers of this machine are reached from it at `valkey` and `s3`, through the router and nothing else."""

    name: str
    router: str
    valkey: str
    s3: str
    address: str
    _cut: list[list[str]] = field(default_factory=list)

    @property
    def prefix(self) -> list[str]:
        """What goes before a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self, *servers: str) -> None:
        """From now on packets from and to these servers vanish: nothing is refused, nothing is reset."""
        for server in servers:
            for way in ("from", "to"):
                self._rule(way, server)

    def forget_connections(self) -> int:
        """What a firewall that was restarted does: packets of every connection that is open now vanish for good, new ones pass. How many there were."""
        listed = _ip("netns", "exec", self.name, "cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
        ports = [
            int(found[1], 16) for line in listed if (found := re.match(r" *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 01 ", line))
        ]
        for port in ports:
            self._rule("from", self.address, "ipproto", "tcp", "sport", str(port))
            self._rule("to", self.address, "ipproto", "tcp", "dport", str(port))
        return len(ports)

    def heal(self) -> None:
        """All passes again."""
        while self._cut:
            _ip("-n", self.router, "rule", "del", *self._cut.pop())

    def link(self, state: str) -> None:
        """`down` pulls the plug of the far host, `up` puts it back: there the way is known to be gone, and nothing leaves."""
        _ip("-n", self.router, "link", "set", "far", state)

    def _rule(self, *selector: str) -> None:
        rule = [*selector, "blackhole"]
        _ip("-n", self.router, "rule", "add", *rule)
        self._cut.append(rule)


@contextmanager
def far_host() -> Iterator[FarHost]:
    """Made, and taken away in every case: the namespaces, and with them the pair of devices and this machine's route."""
    mark = secrets.token_hex(3)
    net = f"10.{200 + os.getpid() % 50}.{secrets.randbelow(250)}"
    host, far, router = f"ty-{mark}", f"ty-far-{mark}", f"ty-router-{mark}"
    with ExitStack() as stack:
        for name in (router, far):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "add", host, "type", "veth", "peer", "name", "near", "netns", router)
        stack.callback(_ip, "link", "del", host)
        _ip("-n", router, "link", "add", "far", "type", "veth", "peer", "name", "eth0", "netns", far)
        for place, device, address in (
            ([], host, f"{net}.1/28"),
            ([], host, f"{net}.2/28"),
            (["-n", router], "near", f"{net}.3/28"),
            (["-n", router], "far", f"{net}.17/28"),
            (["-n", far], "eth0", f"{net}.18/28"),
        ):
            _ip(*place, "addr", "add", address, "dev", device)
            _ip(*place, "link", "set", device, "up")
        _ip("route", "add", f"{net}.16/28", "via", f"{net}.3")
        _ip("-n", far, "route", "add", "default", "via", f"{net}.17")
        _ip("netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield FarHost(name=far, router=router, valkey=f"{net}.1", s3=f"{net}.2", address=f"{net}.18")


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout

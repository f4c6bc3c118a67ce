"""How long a connection is believed in whose packets vanish: a cut line, a firewall that was restarted. Left to itself TCP goes on for a quarter of an hour."""

from __future__ import annotations

import socket

SILENT_SECONDS = 20
"""After so long without a sign from the other side a connection is given up, in the middle of a request or between two."""
_WANTED = {
    "TCP_KEEPIDLE": 15,  # seconds without traffic before the other side is asked; more often than firewalls forget
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 4,
    "TCP_USER_TIMEOUT": SILENT_SECONDS * 1000,  # milliseconds that sent bytes may stay without an answer of the other kernel's; Linux only
}
TCP_OPTIONS: dict[int, int] = {getattr(socket, name): value for name, value in _WANTED.items() if hasattr(socket, name)}
SOCKET_OPTIONS = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *((socket.IPPROTO_TCP, name, value) for name, value in TCP_OPTIONS.items())]

"""Connects to the addresses that it is told, as a service's own stores are found, and asks what machine, user and root this is."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self, addresses: list) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        found = []
        for host, port in addresses:
            with suppress(OSError), socket.create_connection((host, port), 1):
                found.append(f"{host}:{port}")
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK, socket.AF_ALG):
            with suppress(OSError), socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else socket.SOCK_SEQPACKET):
                found.append(f"a socket of {family!r}")
        for folder in ("/", "/usr", "/etc", "/opt", "/run", "/var", "/home"):
            with suppress(OSError):
                Path(folder, "trainyard-written").touch()
                found.append(f"wrote to {folder}")
        found += [f"is user {each}" for each in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) if each == 0]
        if found:
            raise RuntimeError(f"ESCAPED: {found}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

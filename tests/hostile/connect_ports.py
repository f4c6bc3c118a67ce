"""Connects to every TCP port of this machine's loopback, as Valkey and S3 would be found, and to the world."""

import socket
from contextlib import suppress

import torch
from torch import nn


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = []
        for port in range(1, 65536):
            with suppress(OSError), socket.socket() as client:
                client.settimeout(1)
                client.connect(("127.0.0.1", port))
                if client.getsockname() != client.getpeername():  # or it met itself
                    found.append(port)
        print("TRIED", port, "ports")
        for address in ("1.1.1.1", "169.254.169.254"):
            with suppress(OSError), socket.socket() as client:
                client.settimeout(1)
                client.connect((address, 80))
                found.append(address)
        if found:
            raise RuntimeError(f"ESCAPED: {found}")
        return self.linear(self.flatten(images))

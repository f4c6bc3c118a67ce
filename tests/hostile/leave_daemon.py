"""Leaves a daemon in a session of its own that would outlive it, deaf to every signal that can be ignored."""

import os
import signal

import torch
from torch import nn


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        ready, told = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
                    signal.signal(number, signal.SIG_IGN)
                os.write(told, b"1")
                while True:
                    signal.pause()
            os._exit(0)
        os.read(ready, 1)
        print("TRIED to leave a daemon", flush=True)
        return self.linear(self.flatten(images))

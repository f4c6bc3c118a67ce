"""Attaches to processes outside as a debugger does, reads their memory, and asks for namespaces and mounts of its own."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

PTRACE_ATTACH, PTRACE_DETACH, CLONE_NEWUSER, CLONE_NEWNS = 16, 17, 0x10000000, 0x00020000


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        libc = ctypes.CDLL(None, use_errno=True)
        found, tried = [], 0
        for process in Path("/proc").glob("[0-9]*"):
            pid = int(process.name)
            with suppress(OSError):
                words = process.joinpath("cmdline").read_bytes()
                outside = b"trainyard-victim" in words and b"bwrap" not in words  # planted: nobody else is traced
                if pid == os.getpid() or not outside:
                    continue
                tried += 1
                if libc.ptrace(PTRACE_ATTACH, pid, None, None) == 0:
                    os.waitpid(pid, 0)
                    libc.ptrace(PTRACE_DETACH, pid, None, None)
                    found.append(f"traced {pid}")
                with process.joinpath("mem").open("rb"):
                    found.append(f"opened the memory of {pid}")
        for flag in (CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNS):
            if os.fork() == 0:
                os._exit(libc.unshare(flag) & 1)
            if os.waitstatus_to_exitcode(os.wait()[1]) == 0:
                found.append("made a namespace")
        print("TRIED", tried, "processes")
        if found:
            raise RuntimeError(f"ESCAPED: {found}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

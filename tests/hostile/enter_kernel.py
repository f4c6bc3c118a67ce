"""Asks the kernel for what no training needs: namespaces, tracing, rings, keys, faults of its own, and sockets that are not of this machine's files."""

import ctypes
import errno
import os
import platform
import signal
import socket
from contextlib import suppress

import torch
from torch import nn

AT = ["x86_64", "aarch64"].index(platform.machine())
NEW_USER, MOUNT_NEW, X32 = 0x10000000, 0x00020000, 0x40000000
CALLS = {  # number on x86_64 and on aarch64, arguments; each is refused, or the kernel says that it has no such call
    "ptrace": ((101, 117), (0, 0, 0, 0)),  # PTRACE_TRACEME
    "process_vm_readv": ((310, 270), (os.getppid(), 0, 0, 0, 0, 0)),
    "pidfd_getfd": ((438, 438), (0, 0, 0)),
    "kcmp": ((312, 272), (os.getpid(), os.getpid(), 1, 0, 0)),
    "unshare user": ((272, 97), (NEW_USER,)),
    "unshare mounts": ((272, 97), (MOUNT_NEW,)),
    "setns": ((308, 268), (0, 0)),
    "clone3": ((435, 435), (0, 0)),
    "mount": ((165, 40), (0, 0, 0, 0, 0)),
    "fsopen": ((430, 430), (ctypes.c_char_p(b"tmpfs"), 0)),
    "open_tree": ((428, 428), (-100, ctypes.c_char_p(b"/"), 1)),
    "open_by_handle_at": ((304, 265), (-100, 0, 0)),
    "io_uring_setup": ((425, 425), (1, ctypes.create_string_buffer(256))),
    "userfaultfd": ((323, 282), (1,)),
    "keyctl": ((250, 219), (0, -3, 1)),  # the session's keyring
    "add_key": ((248, 217), (ctypes.c_char_p(b"user"), ctypes.c_char_p(b"trainyard"), ctypes.c_char_p(b"x"), 1, -3)),
    "bpf": ((321, 280), (0, ctypes.create_string_buffer(256), 128)),
    "perf_event_open": ((298, 241), (ctypes.create_string_buffer(256), 0, -1, -1, 0)),
    "memfd_secret": ((447, 447), (0,)),
    "shmget": ((29, 194), (0, 2**20, 0o1600)),
    "personality": ((135, 92), (0x0040000,)),  # ADDR_NO_RANDOMIZE
    "getpid by the x32 table": ((39 | X32, 9999), ()),
}
FAMILIES = {"AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_ALG": 38, "AF_VSOCK": 40}


class Net(nn.Module):
    """A working little classifier, apart from that."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(28 * 28, 10)
        libc, found = ctypes.CDLL(None, use_errno=True), []
        for name, (numbers, arguments) in CALLS.items():
            if os.fork() == 0:  # some change who asks
                ctypes.set_errno(0)
                libc.syscall(numbers[AT], *arguments)
                os._exit(ctypes.get_errno() & 127)
            answer = os.waitstatus_to_exitcode(os.wait()[1])
            if answer not in (errno.EPERM, errno.ENOSYS, -signal.SIGSYS):  # a call by a foreign table ends who makes it
                found.append(f"{name}: {os.strerror(answer) if answer > 0 else answer}")
        for name, family in FAMILIES.items():
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
                with suppress(OSError), socket.socket(family, kind):
                    found.append(f"a socket of {name}")
        print("TRIED", len(CALLS), "calls")
        if found:
            raise RuntimeError(f"ESCAPED: {found}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))

"""What contained code may not ask of the kernel, as a seccomp filter (classic BPF, as in the kernel's Documentation/userspace-api/seccomp_filter.rst).

Namespaces keep others' things out of its sight; this keeps it from the parts of the kernel that no training needs, where most ways out were found.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Iterator

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of the kernel's linux/audit.h. A call by another table, as of a 32-bit program on x86_64, ends the process."""

# fmt: off
_DENIED = {  # number on x86_64, on aarch64; None where there is no such call
    # others' memory and descriptors
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "process_mrelease": (448, 448),
    # namespaces and mounts; also of one's own, which bring all that root may do within the reach of anybody
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    # the kernel's own keys, programs and machinery
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "syslog": (103, 116), "quotactl": (179, 60), "quotactl_fd": (443, 443), "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "lookup_dcookie": (212, 18), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161),
    "setdomainname": (171, 162), "vhangup": (153, 58), "personality": (135, 92), "modify_ldt": (154, None), "ioperm": (173, None),
    "iopl": (172, None), "uselib": (134, None), "ustat": (136, None), "sysfs": (139, None), "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # memory that stays when its processes end
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
}
_MISSING = {  # ENOSYS: who asks for these has another way, and takes it as on an older kernel
    "clone3": (435, 435),  # its flags cannot be read here
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_setup": (206, 0),
    "memfd_secret": (447, 447),
}
_NEWEST = 462
"""Calls of kernels that came after this list are missing too."""
_CLONE, _SOCKET, _SOCKETPAIR = (56, 220), (41, 198), (53, 199)
# fmt: on
_CLONE_NEW = 0x7E020000
"""Every CLONE_NEW* flag that `clone` takes."""
_AF_UNIX = 1

_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Where these lie in struct seccomp_data, the lower half of the argument first."""

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


def unknown_machine() -> str | None:
    """Why there is no filter for this machine; None where there is one."""
    if sys.platform == "linux" and platform.machine() in _ARCHITECTURES:
        return None
    return f"Contained code needs Linux on {' or '.join(_ARCHITECTURES)}; this is {sys.platform} on {platform.machine()}."


def load() -> None:
    """Set the filter for this thread and all that it starts, for good. PR_SET_NO_NEW_PRIVS has to be set. Raises OSError."""
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _instructions(platform.machine()))
    # struct sock_fprog: how many instructions, and where they are
    held = ctypes.create_string_buffer(program, len(program))
    told = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(told), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the filter for system calls could not be set")


def _instructions(machine: str) -> Iterator[tuple[int, int, int, int]]:
    """(code, how many to skip if true, if false, operand) of each."""
    at = list(_ARCHITECTURES).index(machine)
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, _ARCHITECTURES[machine]
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _GREATER, 0, 1, _NEWEST  # on x86_64 also what has the bit of the x32 table
    yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
    for calls, answer in ((_DENIED, errno.EPERM), (_MISSING, errno.ENOSYS)):
        for numbers in calls.values():
            if (number := numbers[at]) is not None:
                yield _EQUAL, 0, 1, number
                yield _RETURN, 0, 0, _ERRNO | answer
    for number in (_SOCKET[at], _SOCKETPAIR[at]):
        yield _EQUAL, 0, 4, number
        yield _LOAD, 0, 0, _FIRST_ARGUMENT
        yield _EQUAL, 0, 1, _AF_UNIX
        yield _RETURN, 0, 0, _ALLOW
        yield _RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT
    yield _EQUAL, 0, 3, _CLONE[at]
    yield _LOAD, 0, 0, _FIRST_ARGUMENT
    yield _ANY_BIT, 0, 1, _CLONE_NEW
    yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW

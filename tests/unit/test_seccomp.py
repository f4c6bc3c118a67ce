"""The two filters for system calls: the containers' profile, and the one that contained code gets besides."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.adapters import syscalls
from service.adapters.bubblewrap import PROFILE

ROOT = Path(__file__).parents[2]
FOR_BUBBLEWRAP = {"mount", "pivot_root", "umount2", "unshare"}
ALLOW, KILL = 0x7FFF0000, 0x80000000
THREAD = 0x003D0F00
"""The flags with which the C library starts a thread."""


@pytest.fixture(scope="module")
def profile() -> dict[str, Any]:
    """As an engine reads it."""
    read: dict[str, Any] = json.loads((ROOT / PROFILE).read_text())
    return read


def test_the_profile_lists_what_is_allowed_each_with_its_reason(profile: dict[str, Any]):
    """Everything else is refused; nothing stands there twice."""
    groups = profile["syscalls"]
    names = [name for group in groups for name in group["names"] if "args" not in group]

    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert all(group["comment"] for group in groups)
    assert len(names) == len(set(names))
    assert {group["args"][0]["value"] for group in groups if group["names"] == ["socket"]} == {1, 2, 10, 16}


def test_of_what_contained_code_is_refused_the_profile_has_what_bubblewrap_needs(profile: dict[str, Any]):
    """And no more."""
    allowed = {name for group in profile["syscalls"] if group["action"] == "SCMP_ACT_ALLOW" for name in group["names"]}

    assert allowed & syscalls._DENIED.keys() == FOR_BUBBLEWRAP
    assert not allowed & syscalls._MISSING.keys()
    assert {"clone", "memfd_create", "execve", "prctl", "seccomp"} <= allowed


def test_api_and_workers_are_started_under_the_profile():
    """docker-compose.yml gives it to each that runs a user's code."""
    services = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())["services"]

    for name in ("api", "worker-cpu", "worker-gpu"):
        assert {f"seccomp=./{PROFILE}", "apparmor=unconfined"} <= set(services[name]["security_opt"]), name


def answered(machine: str, number: int, argument: int = 0, *, architecture: int | None = None) -> int:
    """What the filter says of a call, by a reading of its program as the kernel's."""
    program = list(syscalls._instructions(machine))
    seen = {0: number, 4: architecture or syscalls._ARCHITECTURES[machine], 16: argument & 0xFFFFFFFF}
    held = at = 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        match code:
            case syscalls._LOAD:
                held = seen[operand]
            case syscalls._RETURN:
                return operand
            case _:
                holds = {syscalls._EQUAL: held == operand, syscalls._GREATER: held > operand, syscalls._ANY_BIT: bool(held & operand)}[code]
                at += if_true if holds else if_false


def refused(number: int) -> int:
    """The answer that becomes this errno."""
    return 0x00050000 | number


@pytest.mark.parametrize("machine", syscalls._ARCHITECTURES)
def test_the_filter_refuses_what_it_lists_and_nothing_else(machine: str):
    """Each call by its number on each machine; those of kernels to come are missing."""
    at = list(syscalls._ARCHITECTURES).index(machine)
    expected = {numbers[at]: refused(errno.EPERM) for numbers in syscalls._DENIED.values()}
    expected |= {numbers[at]: refused(errno.ENOSYS) for numbers in syscalls._MISSING.values()}
    special = {syscalls._CLONE[at], syscalls._SOCKET[at], syscalls._SOCKETPAIR[at]}

    for number in set(range(600)) - special:
        beyond = refused(errno.ENOSYS) if number > 462 else ALLOW
        assert answered(machine, number) == expected.get(number, beyond), number
    assert answered(machine, 39 | 0x40000000) == refused(errno.ENOSYS)
    assert answered(machine, 0, architecture=0x40000003) == KILL
    for number in (syscalls._SOCKET[at], syscalls._SOCKETPAIR[at]):
        assert [answered(machine, number, family) for family in (1, 2, 40)] == [ALLOW, *[refused(errno.EAFNOSUPPORT)] * 2]
    assert answered(machine, syscalls._CLONE[at], THREAD) == ALLOW
    assert answered(machine, syscalls._CLONE[at], 0x10000000 | 17) == refused(errno.EPERM)


def test_a_machine_without_a_list_contains_nothing(monkeypatch: pytest.MonkeyPatch):
    """The refusal names those that have one."""
    monkeypatch.setattr(syscalls.platform, "machine", lambda: "riscv64")

    assert "x86_64 or aarch64" in (syscalls.unknown_machine() or "")

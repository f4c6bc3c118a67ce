"""What a worker says of its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker import machine


def test_the_processor_and_its_memory_are_told():
    """Of this very machine; a container's limit counts where there is one."""
    name, memory = machine.described("cpu")

    assert name
    assert memory is not None
    assert 2**26 < memory <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(("limit", "bounds"), [("1048576\n", True), ("max\n", False), (None, False)])
def test_a_containers_limit_bounds_the_memory(tmp_path: Path, limit: str | None, bounds: bool):
    """As the kernel tells it: a number, or `max`, or no file at all."""
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)

    assert (machine._memory(file) == 2**20) == bounds


def test_a_processor_is_named_by_its_first_line(tmp_path: Path):
    """All cores are alike."""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC 9B14\nprocessor\t: 1\nmodel name\t: other\n")

    assert machine._processor(tmp_path / "cpuinfo") == "AMD EPYC 9B14"


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n", ("NVIDIA H100 80GB HBM3", 81559 * 2**20)),
        ("NVIDIA GB10, [N/A]\n", ("NVIDIA GB10", None)),
        ("", (None, None)),
    ],
)
def test_a_gpu_is_told_as_its_driver_does(told: str, found: tuple[str | None, int | None]):
    """The first; where it shares the machine's memory, its size is unknown."""
    assert machine.of_gpu(told) == found


def test_without_a_driver_nothing_is_told_of_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The worker starts all the same."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert machine.described("gpu") == (None, None)

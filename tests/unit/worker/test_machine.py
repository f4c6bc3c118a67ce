"""What a worker says of its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker import machine
from worker.gpus import Gpu


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


def test_of_a_gpus_worker_the_first_gpu_is_told():
    """By its name and its memory; where nobody knows the GPUs, neither."""
    gpus = [Gpu(id=f"GPU-{at}", index=at, name=f"H{at}00", memory_bytes=at * 2**30) for at in (1, 2)]

    assert machine.described("gpu", gpus) == ("H100", 2**30)
    assert machine.described("gpu") == (None, None)

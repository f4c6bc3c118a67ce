"""Which GPUs a worker may use, by what NVIDIA's tool prints and two variables say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.jobs.ports import GpuLoad
from worker.gpus import Gauges, Gpu, GpuPool, chosen, chosen_by_the_container, loads, of_list, of_table, visible

STAND_IN = Path(__file__).parent.parent.parent / "gpu"
TABLE = """\
0, GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77, NVIDIA A100-SXM4-40GB, 40960, 12, 3
1, GPU-b1028956-cfa2-0990-bf4a-5da9abb51763, NVIDIA A100-SXM4-40GB, 40960, 40000, 100
2, GPU-f2fd4b12-6a6f-8c2f-7b7e-0a3a3bd1f0c4, NVIDIA GB10, [N/A], [N/A], [N/A]
"""
LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-b1028956-cfa2-0990-bf4a-5da9abb51763)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 1g.5gb      Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 2: NVIDIA GB10 (UUID: GPU-f2fd4b12-6a6f-8c2f-7b7e-0a3a3bd1f0c4)
"""
SLICED = of_list(LISTED, of_table(TABLE))
WHOLE = [Gpu(id=f"GPU-{at}{at}", index=at, name="H100", memory_bytes=None) for at in range(4)]


def test_what_is_listed_is_told_by_its_lasting_name():
    """A GPU that is cut into slices is these; memory is what the driver says, or the slice's profile."""
    assert [(gpu.id[:8], gpu.index, gpu.name, gpu.memory_bytes) for gpu in SLICED] == [
        ("GPU-5d5b", 0, "NVIDIA A100-SXM4-40GB", 40960 * 2**20),
        ("MIG-c6d4", 1, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 20 * 2**30),
        ("MIG-cba6", 1, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", 5 * 2**30),
        ("GPU-f2fd", 2, "NVIDIA GB10", None),
    ]


def test_how_busy_each_is_is_told_as_far_as_the_driver_knows():
    """Where a GPU shares the machine's memory, its size and use are unknown."""
    assert of_table(TABLE)[1] == GpuLoad(
        index=1, name="NVIDIA A100-SXM4-40GB", memory_bytes=40960 * 2**20, memory_used_bytes=40000 * 2**20, utilisation_percent=100
    )
    assert of_table(TABLE)[2] == GpuLoad(index=2, name="NVIDIA GB10", memory_bytes=None, memory_used_bytes=None, utilisation_percent=None)
    assert of_table("No devices were found\n") == {}


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("2", [2]),
        ("2,0", [2, 0]),
        ("0,-1,1", [0]),
        ("1,9,2", [1]),
        ("GPU-3", [3]),
        ("GPU-", []),
        ("NoDevFiles", []),
        ("1,1", [1]),
    ],
)
def test_cuda_visible_devices_leaves_what_cuda_would(named: str | None, kept: list[int]):
    """Numbers, or names from their beginning on; up to the first that is none."""
    assert [gpu.index for gpu in chosen(WHOLE, named)] == kept


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (None, [0, 1, 2, 3]),
        ("all", [0, 1, 2, 3]),
        ("void", [0, 1, 2, 3]),
        ("none", []),
        ("7,5,4,2", [0, 1, 2, 3]),
        ("1,3", [1, 3]),
        ("GPU-22", [2]),
    ],
)
def test_nvidia_visible_devices_is_heeded_where_nobody_else_did(named: str | None, kept: list[int]):
    """A container's runtime has hidden the others and counted anew: its numbers are the host's."""
    assert [gpu.index for gpu in chosen_by_the_container(WHOLE, named)] == kept


def test_a_tool_that_does_not_answer_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No tool, or one that fails, as without a driver: nobody knows of any GPU, which is not to say that there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible({}) is None
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)

    assert visible({}) is None
    assert loads(WHOLE) == ()


def test_the_tool_is_asked_as_it_wants_to_be(monkeypatch: pytest.MonkeyPatch):
    """The stand-in prints what the real one does; gauges look at the worker's own alone."""
    monkeypatch.setenv("PATH", f"{STAND_IN}:{os.environ['PATH']}")
    found = visible({"CUDA_VISIBLE_DEVICES": "1"})
    assert found is not None
    gauges = Gauges(found)
    before = gauges.latest()
    gauges.look()

    assert [(gpu.index, gpu.name, gpu.memory_bytes) for gpu in found] == [(1, "NVIDIA H100 80GB HBM3", 81559 * 2**20)]
    assert before == ()
    assert [(load.index, load.utilisation_percent) for load in gauges.latest()] == [(1, 37)]


@pytest.mark.parametrize(
    ("gpus", "slots", "free", "room"), [(4, 4, 4, 4), (4, 1, 4, 4), (2, 4, 2, 4), (2, 3, 2, 3)], ids=["each", "few", "shared", "uneven"]
)
def test_a_pool_hands_out_what_it_has(gpus: int, slots: int, free: int, room: int):
    """A job takes different GPUs, those with the most room; what it had comes back."""
    pool = GpuPool(WHOLE[:gpus], slots=slots)
    assert (pool.most, pool.free, pool.room) == (gpus, free, room)

    taken = pool.take(2)
    assert len(set(taken)) == 2
    assert pool.room == room - 2
    with pool.held(taken):
        others = [pool.take(1)[0] for _ in range(pool.room)]
        assert pool.free == 0
    assert pool.free == pool.room == 2
    assert max(map([*taken, *others].count, taken)) - min(map([*taken, *others].count, taken)) <= 1


def test_slices_are_given_one_by_one():
    """CUDA lets a process use one of them."""
    pool = GpuPool(SLICED, slots=4)

    assert (pool.most, pool.free, pool.room) == (1, 1, 4)


def test_a_workers_parent_does_not_even_import_torch():
    """Nor does anything that it asks for its GPUs."""
    code = "import sys, worker.main, worker.gpus; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The kernel's count of out-of-memory kills, as both versions of control groups tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.oom import KillCount

V2 = "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 7\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
LAYOUTS = [
    pytest.param("0::/system.slice/yard.service\n", "system.slice/yard.service/memory.events", V2, id="v2"),
    pytest.param("0::/\n", "memory.events", V2, id="v2, in a container"),
    pytest.param("0::/../../host/path\n", "memory.events", V2, id="v2, a path from outside"),
    pytest.param("5:cpu,cpuacct:/x\n4:memory:/docker/ab\n0::/\n", "memory/docker/ab/memory.oom_control", V1, id="v1"),
    pytest.param("4:memory:/docker/ab\n0::/docker/ab\n", "memory/memory.oom_control", V1, id="v1, in a container"),
    pytest.param("1:name=systemd:/init\n0::/init\n", "unified/init/memory.events", V2, id="v2 beside v1"),
]


@pytest.mark.parametrize(("groups", "file", "text"), LAYOUTS)
def test_a_rise_is_seen(groups: str, file: str, text: str, tmp_path: Path):
    """Kills from before count for nothing, and neither do the other lines of the file."""
    (tmp_path / "cgroup").write_text(groups)
    count = tmp_path / "mount" / file
    count.parent.mkdir(parents=True)
    count.write_text(text.format(4))

    kills = KillCount(proc=tmp_path / "cgroup", mount=tmp_path / "mount")

    assert not kills.rose()
    count.write_text(text.format(5))
    assert kills.rose()


def test_where_nobody_counts_there_is_no_evidence(tmp_path: Path):
    """No control groups, or a count that goes away meanwhile."""
    assert not KillCount(proc=tmp_path / "none", mount=tmp_path).rose()
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "memory.events").write_text(V2.format(1))
    kills = KillCount(proc=tmp_path / "cgroup", mount=tmp_path)

    (tmp_path / "memory.events").unlink()

    assert not kills.rose()

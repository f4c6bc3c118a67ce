"""The zygote's surroundings: what it is given, and what is kept from it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from worker.keeper import ZygoteKeeper
from worker.zygote import Trainer, Zygote


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_a_zygote_gets_no_credential_and_no_folder_that_sockets_cannot_live_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A DataLoader's processes would hang for ever in a TMPDIR so long that a socket's path in it is cut off."""
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    zygote = Zygote.start()
    given = environment_of(zygote.pid)
    zygote.close()

    assert "TMPDIR" not in given
    assert "AWS_SECRET_ACCESS_KEY" not in given
    assert given["OMP_NUM_THREADS"] == "1"


def test_a_short_folder_is_handed_on(monkeypatch: pytest.MonkeyPatch):
    """As the operator named it."""
    monkeypatch.setenv("TMPDIR", "/tmp")  # noqa: S108  # the name is the point
    zygote = Zygote.start()
    given = environment_of(zygote.pid)
    zygote.close()

    assert given["TMPDIR"] == "/tmp"  # noqa: S108  # as above


def test_a_spare_is_handed_out_warm_and_another_takes_its_place():
    """The spare answers its job; a spare that was killed is passed over, and the next refill makes up for it."""
    keeper = ZygoteKeeper(log_path=None, gpus=["GPU-1"], device="cpu")
    try:
        first = keeper.spawn(["GPU-1"])
        assert _answers(first)
        second = keeper.spawn(["GPU-1"])  # none is left: a fork
        assert second.pid != first.pid
        keeper.refill()
        spare = keeper.spawn(["GPU-1"])
        spare.kill()
        assert spare.wait(10) == -signal.SIGKILL
        keeper.refill()
        victim = keeper._spares["GPU-1"]  # what is to be killed
        victim.kill()
        assert victim.wait(10) == -signal.SIGKILL
        last = keeper.spawn(["GPU-1"])
        assert last.pid != victim.pid
        assert _answers(last)
        for each in (first, second, spare, last):
            each.close()
    finally:
        keeper.close()


def _answers(trainer: Trainer) -> bool:
    """Whether it takes its job, and says what is wrong with it."""
    trainer.send({"spec": {}})
    said = [json.loads(line) for line in trainer.facts]
    assert trainer.wait(10) == 0
    return said[-1]["fact"] == "Failed"

"""Who rings for new jobs: one ring for one job, and the demand's for several."""

from __future__ import annotations

from service.adapters.memory import MemoryDoorbell
from service.ringing import Ringer


def test_a_job_that_came_alone_is_rung_for_at_once() -> None:
    """Without asking for the demand; everything else asks."""
    doorbell, asked = MemoryDoorbell(), list[str]()
    ringer = Ringer(doorbell=doorbell, ring_all=lambda: asked.append("all"))

    ringer.came("gpu")
    ringer.ring()
    assert (dict(doorbell.rung), asked) == ({"gpu": 1}, [])

    for came in ([], [None], ["cpu", "cpu"]):
        for device in came:
            ringer.came(device)  # type: ignore[arg-type]  # of a class, or of none
        ringer.ring()
    assert (dict(doorbell.rung), asked) == ({"gpu": 1}, ["all"] * 3)

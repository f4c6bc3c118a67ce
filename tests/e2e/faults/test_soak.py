"""Twenty seconds of the long soak: enough to see a lease lost or a message delivered twice, too short to judge memory."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.faults.soak import soak


def test_a_job_of_many_leases_runs_once(tmp_path: Path):
    """Twenty leases, and ten times the broker's patience: one attempt, no message left unacknowledged, every small job done at once."""
    soaked = soak(tmp_path, seconds=20)

    print(soaked)
    assert (soaked.attempt, soaked.claims, soaked.state, soaked.unacked) == (1, 1, "cancelled", 0)
    assert set(soaked.small) == {"succeeded 1"}

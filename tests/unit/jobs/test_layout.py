"""Where things lie in storage."""

from __future__ import annotations

from service.jobs import layout


def test_everything_of_a_job_lies_below_its_project_and_id() -> None:
    """One prefix names all that belongs to a job, and a token's prefix all that an attempt wrote."""
    root = layout.job_prefix("p", "j")
    attempt = layout.attempt_prefix("p", "j", 7)

    assert root == "projects/p/jobs/j/"
    for key in (layout.record_key, layout.events_key, layout.metrics_key, layout.logs_key):
        assert key("p", "j").startswith(root)
    assert attempt == "projects/p/jobs/j/attempts/7/"
    assert layout.checkpoint_prefix("p", "j", 7, 30) == attempt + "checkpoints/30/"
    assert layout.artifacts_prefix("p", "j", 7) == attempt + "artifacts/"

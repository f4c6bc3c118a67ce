"""Jobs and events as the API answers them, for tests of the client."""

from __future__ import annotations

from typing import Any

JOB: dict[str, Any] = {
    "id": "job_1", "name": "first", "state": "succeeded", "reason": None, "error": None, "metrics": {"test_accuracy": 0.9625},
    "progress": {"epoch": 2, "steps": 2, "percent": 100.0}, "spec": {"epochs": 2}, "resolved_spec": {"epochs": 2}, "warnings": [], "retry_of": None,
    "created_at": "2026-11-25T12:00:00Z", "started_at": "2026-11-25T12:00:01Z", "finished_at": "2026-11-25T12:00:03Z",
}  # fmt: skip
EVENTS = [
    {"id": 1, "type": "state", "at": "T", "message": "", "data": {"state": "running", "phase": "training"}},
    {"id": 2, "type": "epoch", "at": "T", "message": "epoch 1/1 train_loss 0.5", "data": {"train_loss": 0.5}},
    {"id": 3, "type": "state", "at": "T", "message": "", "data": {"state": "succeeded", "phase": None}},
]

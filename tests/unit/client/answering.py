"""A client whose service is made up by a test, and a job as the service tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

from service.client import Client

Answering = Callable[[httpx2.Request], httpx2.Response]

JOB: dict[str, Any] = {
    "id": "job_1",
    "name": "first",
    "labels": {"course": "intro"},
    "state": "running",
    "reason": None,
    "phase": "training",
    "progress": {"epoch": 1, "epochs": 4, "step": 10, "steps": 40, "percent": 25.0, "eta_seconds": 3.5, "told_by_a_newer_service": 1},
    "metrics": {"train_loss": 0.5, "val_loss": 0.625},
    "best": {"monitor": "val_loss", "value": 0.625, "epoch": 1, "step": 10},
    "error": None,
    "warnings": [{"pointer": "/optimizer/lr", "code": "lr", "detail": "is large", "suggestion": "Try 0.001."}],
    "queue_position": None,
    "created_at": "2026-11-25T12:00:00.250000Z",
    "started_at": "2026-11-25T12:00:01Z",
    "finished_at": None,
    "spec": {"epochs": 4},
    "resolved_spec": {"epochs": 4, "seed": 0},
}


def client(answering: Answering) -> Client:
    """A client that asks a function."""
    made = Client("http://trainyard.test")
    made.close()
    made._http = httpx2.Client(base_url=made.url, transport=httpx2.MockTransport(answering))
    return made

"""The spec of a job that trains nothing: the model of another job on an uploaded data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def evaluation_of(job: Mapping[str, Any], dataset: str, *, version: str | None = None, share: float = 1.0) -> dict[str, Any]:
    """The spec. Of data without a test split the `share` is looked at; every prediction becomes a row of a table."""
    old = job["resolved_spec"]
    kept = {name: old["dataset"][name] for name in ("target", "transforms")}
    return {
        "name": f"{job['name'] or job['id']} on {dataset}"[:200],
        "dataset": {"type": "Upload", "name": dataset, "version": version, "test_split": share, **kept},
        "dataloader": {name: old["dataloader"][name] for name in ("batch_size", "eval_batch_size")},
        "model": {"type": "Job", "job_id": job["id"]},
        "loss": old["loss"],
        "optimizer": old["optimizer"],
        "epochs": 0,
        "evaluation": {"metrics": old["evaluation"]["metrics"], "predictions": True},
    }

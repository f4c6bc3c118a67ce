"""A trained model asked for answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.jobs.errors import NotFinished, Unpredictable
from service.jobs.job import Job
from service.jobs.ports import Question
from service.jobs.state import JobState
from service.spec.checking import is_custom
from service.use_cases.reading import manifest, read_artifact
from service.use_cases.services import Services

_NEEDED = ("resolved_spec.json", "model.safetensors")
_WHERE_THERE = ("preprocessing.json",)


def predict(job: Job, question: Question, *, services: Services) -> dict[str, Any]:
    """{outputs, names, classes, probabilities} of posted samples. Raises NotFinished, Unpredictable, Unavailable."""
    if job.state is not JobState.SUCCEEDED:
        if job.is_terminal:
            raise Unpredictable(f"Job {job.id} is {job.state}: it left no model.")
        raise NotFinished(job.id, state=job.state)

    def files() -> Iterator[tuple[str, Iterator[bytes]]]:
        there = {file["path"] for file in manifest(job, artifacts=services.artifacts)}
        for name in (*_NEEDED, *(name for name in _WHERE_THERE if name in there)):
            yield name, read_artifact(job, name, start=0, end=None, artifacts=services.artifacts)

    return services.predictor.predict(f"{job.id}-{job.token}", files, question, is_custom=is_custom(job.resolved_spec or job.spec))

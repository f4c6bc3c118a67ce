"""Data that a job without epochs asks an earlier job's model about, as that model has them: columns, scale, names of classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from service.jobs.errors import ArtifactNotFound
from service.jobs.job import Job
from service.spec import tables
from service.spec.content import Content
from service.spec.dataset import PLACED_BY, AnyDataset, Dataset
from service.spec.naming import as_named
from service.spec.verdict import Fault
from service.use_cases.reading import read_artifact
from service.use_cases.services import Services

_datasets: TypeAdapter[Dataset] = TypeAdapter(AnyDataset)


def as_the_model_has_it(body: Mapping[str, Any], *, project: str, services: Services) -> tuple[Mapping[str, Any], list[Fault]]:
    """The body with its data as the earlier job's model has them, and what keeps the model from these data."""
    dataset, model = body.get("dataset"), body.get("model")
    content = dataset.get("content") if isinstance(dataset, Mapping) else None
    if not content or not isinstance(dataset, Mapping) or not isinstance(model, Mapping) or not isinstance(model.get("job_id"), str):
        return body, []
    earlier = services.jobs.find(project, model["job_id"])
    if earlier.resolved_spec is None:
        return body, []
    here, pointer = Content.model_validate(content), f"/dataset/{PLACED_BY[dataset['type']]}"
    trained = _datasets.validate_python(earlier.resolved_spec["dataset"])
    if here.layout != "table" and dataset.get("target") == "input":
        return body, []
    if here.layout != "table":
        named, faults = as_named(here, trained.facts.labels, _names(earlier, trained, services), pointer=pointer)
        return _with(body, named), faults
    if trained.content is None or trained.content.layout != "table":
        return body, []
    if faults := tables.strangers(here, trained.content, trained.arguments(), pointer=pointer):
        return body, faults
    return _scaled(body, here, trained.content, trained.arguments(), earlier, services)


def _with(body: Mapping[str, Any], content: Content, **columns: Any) -> Mapping[str, Any]:
    return {**body, "dataset": {**body["dataset"], **columns, "content": content.model_dump(mode="json")}}


def _names(earlier: Job, trained: Dataset, services: Services) -> tuple[str, ...]:
    """What the model's job calls its classes, labels or numbers, in their order; their places where it has no names."""
    if trained.class_names:
        return trained.class_names
    told = _told(earlier, "config.json", services) or {}
    return tuple(told.get("classes") or map(str, range(trained.facts.num_classes)))


def _told(job: Job, name: str, services: Services) -> Any:
    """What one of its artifacts says; None where it is not there."""
    try:
        return json.loads(b"".join(read_artifact(job, name, start=0, end=None, artifacts=services.artifacts)))
    except ArtifactNotFound:
        return None


def _scaled(
    body: Mapping[str, Any], here: Content, there: Content, trained: Mapping[str, Any], earlier: Job, services: Services
) -> tuple[Mapping[str, Any], list[Fault]]:
    """A table with the columns of the one that the model was trained on, to be scaled as that one was."""
    told = _told(earlier, "preprocessing.json", services)
    if told is None:
        detail = f"Job {earlier.id} is {earlier.state}: what its rows were scaled by is told once it has succeeded."
        cure = "Wait for its end, or name one that has succeeded."
        return body, [Fault(pointer="/model/job_id", code="no_scale", detail=detail, suggestion=cure)]
    scale = {each["name"]: (each["mean"], each["std"]) for each in told["features"] if each["kind"] == "numeric"}
    columns = {
        "feature_columns": [each["name"] for each in told["features"]],
        "label_columns": trained["label_columns"],
        "labels": trained["labels"],
    }
    return _with(body, tables.as_trained(here, there, trained, scale), **columns), []

"""The rules that span the parts of a spec, and need no torch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from service.spec import model as models
from service.spec import monitors
from service.spec.catalog import load
from service.spec.training import FUSED
from service.spec.verdict import Fault

if TYPE_CHECKING:
    from service.spec.job import JobSpec


def across_parts(spec: JobSpec) -> list[Fault]:
    """Every fault, in the order of the spec."""
    return [
        *_batches(spec),
        *_left_out(spec),
        *_augmented(spec),
        *_fused(spec),
        *models.faults(spec.model),
        *_metrics(spec),
        *monitors.faults(spec),
        *_exports(spec),
    ]


def _batches(spec: JobSpec) -> list[Fault]:
    training, _ = spec.dataset.split_sizes
    if training and not (spec.dataloader.drop_last and training < spec.dataloader.batch_size):
        return []
    detail = f"{training} training samples in batches of {spec.dataloader.batch_size} leave nothing to train on."
    suggestion = "Use a smaller batch_size, drop_last: false, or more samples."
    return [Fault(pointer="/dataloader/batch_size", code="no_batches", detail=detail, suggestion=suggestion)]


def _left_out(spec: JobSpec) -> list[Fault]:
    """An epoch has to keep a batch."""
    training, _ = spec.dataset.split_sizes
    size = spec.dataloader.batch_size
    batches = training // size if spec.dataloader.drop_last else -(-training // size)
    missing = Counter(epoch for epoch, number in set(spec.training.skip_batches) if number < batches and epoch < spec.epochs)
    empty = [epoch for epoch, count in missing.items() if count == batches]
    if not empty:
        return []
    detail = f"Epoch {empty[0]}, counted from 0, has {batches} batches, and all of them are left out."
    return [Fault(pointer="/training/skip_batches", code="no_batches", detail=detail, suggestion="Leave some in.")]


def _augmented(spec: JobSpec) -> list[Fault]:
    """A batch is of tensors."""
    dataset = spec.dataset
    if not dataset.augments_batches or any(each.type in ("ToImage", "PILToTensor") for each in dataset.before_numbers):
        return []
    detail = "Augmentation by batch needs tensors, and here images become tensors only where they become numbers."
    suggestion = "Begin dataset.transforms with ToImage, then ToDtype; or leave augment out."
    return [Fault(pointer="/dataset/augment", code="no_batches", detail=detail, suggestion=suggestion)]


def _fused(spec: JobSpec) -> list[Fault]:
    if not spec.training.fused or spec.optimizer.type in FUSED:
        return []
    detail = f"torch has no fused form of {spec.optimizer.type}."
    return [Fault(pointer="/training/fused", code="not_fused", detail=detail, suggestion=f"Leave it out, or use {', '.join(FUSED)}.")]


def _metrics(spec: JobSpec) -> list[Fault]:
    task = "classification" if spec.dataset.is_classification else "regression"
    found = []
    for at, metric in enumerate(spec.evaluation.metrics or ()):
        if load()["metrics"][metric.type]["task"] == task:
            continue
        detail = f"{metric.type} measures a {'regression' if task == 'classification' else 'classification'}; this is a {task}."
        others = [name for name, entry in load()["metrics"].items() if entry["task"] == task]
        suggestion = f"For a {task}: {', '.join(others)}."
        found.append(Fault(pointer=f"/evaluation/metrics/{at}", code="wrong_task", detail=detail, suggestion=suggestion))
    kinds = [metric.type for metric in spec.evaluation.metrics or ()]
    for at, kind in enumerate(kinds):
        if kind in kinds[:at]:
            detail = f"{kind} is measured twice, and its value has one name."
            found.append(Fault(pointer=f"/evaluation/metrics/{at}", code="duplicate", detail=detail, suggestion="Leave one out."))
    return found


def _exports(spec: JobSpec) -> list[Fault]:
    """Each format is one file."""
    kinds = [export.type for export in spec.export]
    return [
        Fault(
            pointer=f"/export/{at}",
            code="duplicate",
            detail=f"{kind} is asked for twice, and is one file, {spec.export[at].file}.",
            suggestion="Leave one out.",
        )
        for at, kind in enumerate(kinds)
        if kind in kinds[:at]
    ]

"""The rules that span the parts of a spec, and need no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.spec import model as models
from service.spec import monitors, several_gpus
from service.spec.catalog import load
from service.spec.dataset import PLACED_BY
from service.spec.fixes import removing, setting
from service.spec.notify import twice
from service.spec.tables import taken
from service.spec.training import FUSED
from service.spec.verdict import Fault

if TYPE_CHECKING:
    from service.spec.job import JobSpec

NOT_LOOKED_UP = "not_looked_up"
FEW_EPOCHS, SHARE = 5, 0.2
"""What a fix writes where nobody can know better."""


def across_parts(spec: JobSpec) -> list[Fault]:
    """Every fault, in the order of the spec."""
    return [*_of_the_training(spec), *_notified_twice(spec)]


def _of_the_training(spec: JobSpec) -> list[Fault]:
    if spec.dataset.column_faults:
        return spec.dataset.column_faults
    if not spec.dataset.has_targets:
        return [_no_labels(spec)]
    if not spec.dataset.is_known:
        detail = "What is in this data set was not looked up."
        return [Fault(pointer="/dataset", code=NOT_LOOKED_UP, detail=detail, suggestion="Submit the spec to a service that has the data.")]
    return [
        *_scaled(spec),
        *_unlabelled(spec),
        *_splits(spec),
        *_batches(spec),
        *_left_out(spec),
        *_sampled(spec),
        *_augmented(spec),
        *_fused(spec),
        *models.faults(spec.model),
        *_metrics(spec),
        *several_gpus.faults(spec),
        *monitors.faults(spec),
        *_exports(spec),
    ]


def untrained(body: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with `epochs: 0`, in a body that may not be readable as a whole."""
    model, epochs = body.get("model"), body.get("epochs")
    if epochs != 0 or isinstance(epochs, bool) or (isinstance(model, Mapping) and model.get("type") == "Job"):
        return []
    detail, cure = (
        "With epochs: 0 nothing is trained: that is for the model of an earlier job.",
        "Set model: {type: Job, job_id: ...}, or 1 and more.",
    )
    return [Fault(pointer="/epochs", code="nothing_to_train", detail=detail, suggestion=cure, fix=setting("/epochs", FEW_EPOCHS))]


def _scaled(spec: JobSpec) -> list[Fault]:
    """Rows of a table need training rows."""
    content = spec.dataset.content
    if spec.epochs or content is None or content.layout != "table" or taken(content, spec.dataset.arguments()).is_scaled:
        return []
    detail = "Rows of a table are scaled as training rows say: here there are none, and the earlier job trained on no table."
    return [Fault(pointer="/epochs", code="no_scale", detail=detail, suggestion="Ask the model by POST /v1/jobs/{id}/predict.")]


def _no_labels(spec: JobSpec) -> Fault:
    """Of data without labels where something is to be trained, or nobody says what an answer is."""
    cure = "Upload them with labels; or ask the model of an earlier job: epochs: 0, model: {type: Job}, evaluation: {predictions: true}."
    detail = "These data have no labels: nothing can be learnt from them."
    return Fault(pointer=f"/dataset/{PLACED_BY[spec.dataset.type]}", code="no_labels", detail=detail, suggestion=cure)


def _unlabelled(spec: JobSpec) -> list[Fault]:
    """Without labels there is nothing but predictions."""
    if spec.dataset.is_judged:
        return []
    if spec.epochs:
        return [_no_labels(spec)]
    if spec.evaluation.predictions:
        return []
    detail = "These data have no labels: nothing can be measured, and without predictions the job would leave nothing."
    return [Fault(pointer="/evaluation/predictions", code="no_labels", detail=detail, suggestion="Set it to true.")]


def _splits(spec: JobSpec) -> list[Fault]:
    """What a spec asks of data that somebody brought."""
    found, facts = [], spec.dataset.facts
    if facts.validation and spec.dataset.validation_split:
        detail = f"The data bring a validation split of their own, of {facts.validation} samples."
        found.append(_superfluous("/dataset/validation_split", "own_validation_split", detail))
    if not facts.test:
        detail = "There are no test samples: the data bring none, and test_split sets none aside."
        cure, where = f"Set it, for example to {SHARE}.", "/dataset/test_split"
        found.append(Fault(pointer=where, code="no_test_split", detail=detail, suggestion=cure, fix=setting(where, SHARE)))
    if facts.samples == "rows":
        found += [
            _superfluous(f"/dataset/{part}", "no_images", "Rows of a table are no images.")
            for part in ("transforms", "train_transforms", "batch_transforms")
            if getattr(spec.dataset, part)
        ]
    if facts.labels != "class" and spec.dataset.target not in ("label", "input"):
        detail = f"target: {spec.dataset.target} makes something of class numbers; the labels here are {facts.num_classes} numbers each."
        found.append(_superfluous("/dataset/target", "no_classes", detail))
    if spec.dataset.target == "binary" and facts.num_classes != 2:
        detail = f"target: binary is for two classes; {spec.dataset.type} has {facts.num_classes}."
        found.append(_superfluous("/dataset/target", "not_two_classes", detail))
    return found


def _batches(spec: JobSpec) -> list[Fault]:
    training, _ = spec.dataset.split_sizes
    if not spec.epochs or (training and not (spec.dataloader.drop_last and training < spec.dataloader.batch_size)):
        return []
    detail = f"{training} training samples in batches of {spec.dataloader.batch_size} leave nothing to train on."
    suggestion = "Use a smaller batch_size, drop_last: false, or more samples."
    fix = setting("/dataloader/drop_last", value=False) if training else None
    return [Fault(pointer="/dataloader/batch_size", code="no_batches", detail=detail, suggestion=suggestion, fix=fix)]


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


def _sampled(spec: JobSpec) -> list[Fault]:
    """Weights are those of classes."""
    sampler, facts = spec.dataloader.sampler, spec.dataset.facts
    if sampler is None:
        return []
    if facts.labels != "class":
        detail = "Samples are weighed by their class; here they have none."
        return [_superfluous("/dataloader/sampler", "no_classes", detail)]
    if sampler.weights == "balanced":
        return []
    if len(sampler.weights) != facts.num_classes:
        detail = f"There are {len(sampler.weights)} weights for {facts.num_classes} classes."
        cure = f"Give {facts.num_classes}, or balanced."
        where = "/dataloader/sampler/weights"
        return [Fault(pointer=where, code="wrong_size", detail=detail, suggestion=cure, fix=setting(where, "balanced"))]
    if not any(sampler.weights):
        detail = "With all weights 0 nothing can be drawn."
        return [Fault(pointer="/dataloader/sampler/weights", code="no_weight", detail=detail, suggestion="Give one that is larger.")]
    return []


def _augmented(spec: JobSpec) -> list[Fault]:
    """A batch is of tensors."""
    dataset = spec.dataset
    if not dataset.augments_batches or any(each.type in ("ToImage", "PILToTensor") for each in dataset.before_numbers):
        return []
    detail = "Augmentation by batch needs tensors, and here images become tensors only where they become numbers."
    suggestion = "Begin dataset.transforms with ToImage, then ToDtype; or leave augment out."
    return [Fault(pointer="/dataset/augment", code="no_batches", detail=detail, suggestion=suggestion, fix=removing("/dataset/augment"))]


def _fused(spec: JobSpec) -> list[Fault]:
    if not spec.training.fused or spec.optimizer.type in FUSED:
        return []
    detail = f"torch has no fused form of {spec.optimizer.type}."
    where, cure = "/training/fused", f"Leave it out, or use {', '.join(FUSED)}."
    return [Fault(pointer=where, code="not_fused", detail=detail, suggestion=cure, fix=removing(where))]


def _metrics(spec: JobSpec) -> list[Fault]:
    task = "classification" if spec.dataset.counts_answers else "regression"
    found = []
    for at, metric in enumerate(spec.evaluation.metrics or ()):
        if load()["metrics"][metric.type]["task"] == task:
            continue
        detail = f"{metric.type} measures a {'regression' if task == 'classification' else 'classification'}; this is a {task}."
        others = [name for name, entry in load()["metrics"].items() if entry["task"] == task]
        suggestion = f"For a {task}: {', '.join(others)}."
        where = f"/evaluation/metrics/{at}"
        found.append(Fault(pointer=where, code="wrong_task", detail=detail, suggestion=suggestion, fix=removing(where)))
    kinds = [metric.type for metric in spec.evaluation.metrics or ()]
    for at, kind in enumerate(kinds):
        if kind in kinds[:at]:
            detail = f"{kind} is measured twice, and its value has one name."
            found.append(_superfluous(f"/evaluation/metrics/{at}", "duplicate", detail, "Leave one out."))
    return found


def _exports(spec: JobSpec) -> list[Fault]:
    """Each format is one file."""
    kinds = [export.type for export in spec.export]
    return [
        _superfluous(f"/export/{at}", "duplicate", f"{kind} is asked for twice, and is one file, {spec.export[at].file}.", "Leave one out.")
        for at, kind in enumerate(kinds)
        if kind in kinds[:at]
    ]


def _notified_twice(spec: JobSpec) -> list[Fault]:
    """One endpoint has all its events in one place."""
    detail = "This URL stands there already."
    return [_superfluous(f"/notify/{at}", "duplicate", detail, "Put all its events into one.") for at in twice(spec.notify)]


def _superfluous(pointer: str, code: str, detail: str, suggestion: str = "Leave it out.") -> Fault:
    return Fault(pointer=pointer, code=code, detail=detail, suggestion=suggestion, fix=removing(pointer))

"""What of a training can be watched, by the best checkpoint, by early stopping and by ReduceLROnPlateau: losses, accuracies, metrics that are one number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from service.spec.catalog import Declared, load, suggest
from service.spec.fixes import inserting, setting
from service.spec.verdict import Fault, Fix

if TYPE_CHECKING:
    from service.spec.job import JobSpec

MEASURED = {"classification": ("Accuracy", "ConfusionMatrix"), "binary": ("Accuracy", "ConfusionMatrix"), "multilabel": ("Accuracy",)}
"""The metrics of a task whose spec names none."""
_MANY = {"average": "none", "multiclass_mode": "one-vs-all"}
"""Arguments that make a metric give a number for each class."""


def snake_case(name: str) -> str:
    """`F1Score` as `f1_score`, `AUROC` as `auroc`, `R2Score` as `r2_score`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def gives_one_number(metric: Declared) -> bool:
    """Whether a metric's value is one number, not a list or a table."""
    several = any(metric.arguments().get(name) == value for name, value in _MANY.items())
    return bool(load()["metrics"][metric.type]["single"]) and not several


def beside_built_in(spec: JobSpec) -> tuple[Declared, ...]:
    """The metrics that torchmetrics measures; plain Accuracy and ConfusionMatrix are counted by the evaluation itself."""
    counted = ("Accuracy",) if spec.dataset.task == "multilabel" else ("Accuracy", "ConfusionMatrix")
    return tuple(each for each in spec.evaluation.metrics or () if each.type not in counted or each.chosen())


def watched(spec: JobSpec) -> dict[str, tuple[str, str]]:
    """(name, mode) of every value that is watched, by the pointer of who watches it."""
    found: dict[str, tuple[str, str]] = {}
    if spec.checkpoint.monitor is not None:
        found["/checkpoint"] = spec.checkpoint.monitor, spec.checkpoint.mode
    if spec.training.early_stopping is not None:
        found["/training/early_stopping"] = spec.training.early_stopping.monitor, spec.training.early_stopping.mode
    if spec.lr_scheduler is not None and spec.lr_scheduler.type == "ReduceLROnPlateau":
        arguments = spec.lr_scheduler.arguments()
        found["/lr_scheduler"] = arguments["monitor"], arguments["mode"]
    return found


def watched_metrics(spec: JobSpec) -> dict[str, Declared]:
    """Torchmetrics' metrics whose value is watched, by its name."""
    names = {name for name, _ in watched(spec).values()}
    measured = {f"val_{snake_case(each.type)}": each for each in beside_built_in(spec)}
    return {name: metric for name, metric in measured.items() if name in names}


def better(monitor: str) -> str | None:
    """`min` or `max`: which way a value improves. None where nobody can say."""
    of_metrics: dict[str, str | None] = {snake_case(name): entry["better"] for name, entry in load()["metrics"].items()}
    return ({"loss": "min"} | of_metrics).get(monitor.partition("_")[2])


def faults(spec: JobSpec) -> list[Fault]:
    """Of every value that is watched and is never there."""
    found = (_fault(spec, name, f"{pointer}/monitor") for pointer, (name, _) in watched(spec).items())
    return [fault for fault in found if fault is not None]


def _fault(spec: JobSpec, name: str, pointer: str) -> Fault | None:
    _, validation = spec.dataset.split_sizes
    split, _, value = name.partition("_")
    asked = {snake_case(each.type): each for each in spec.evaluation.metrics or ()}
    named = {snake_case(each): each for each in load()["metrics"]}
    if split == "val" and validation == 0 and (value in named or value == "loss"):
        detail = f"{name} is watched, but the validation split is empty."
        cure, fix = "Set dataset.validation_split, for example to 0.1.", setting("/dataset/validation_split", 0.1)
        return Fault(pointer=pointer, code="no_validation_split", detail=detail, suggestion=cure, fix=fix)
    if value == "accuracy" and not spec.dataset.counts_answers:
        detail = f"{name} is watched, but with target: {spec.dataset.target} there are no right answers to count."
        cure, fix = f"Watch {split}_loss with mode: min.", setting(pointer, f"{split}_loss")
        return Fault(pointer=pointer, code="no_accuracy", detail=detail, suggestion=cure, fix=fix)
    known = _known(spec)
    if name in known:
        return None
    would_do = f"What can be watched here: {', '.join(known)}."
    if split == "val" and value in asked:
        detail = f"{name} is watched, but {asked[value].type} as declared gives more than one number."
        return Fault(pointer=pointer, code="not_one_number", detail=detail, suggestion=would_do)
    if split == "val" and value in named:
        detail = f"{name} is watched, but evaluation.metrics does not ask for {named[value]}."
        cure = f"Add {named[value]} to evaluation.metrics. {would_do}"
        return Fault(pointer=pointer, code="not_measured", detail=detail, suggestion=cure, fix=_measuring(named[value], spec))
    close = suggest(name, known)
    return Fault(
        pointer=pointer,
        code="unknown_monitor",
        detail=f"There is no value `{name}` after an epoch.",
        suggestion=(f"Did you mean `{close}`? " if close else "") + would_do,
        fix=setting(pointer, close) if close else None,
    )


def _measuring(metric: str, spec: JobSpec) -> Fix:
    """One metric more; those that a spec has by leaving them out are then named."""
    if spec.evaluation.metrics is not None:
        return inserting("/evaluation/metrics/-", metric)
    return setting("/evaluation/metrics", [*MEASURED.get(spec.dataset.task, ()), metric])


def _known(spec: JobSpec) -> list[str]:
    """The names that are there after every epoch."""
    splits = ["train", "val"] if spec.dataset.split_sizes[1] else ["train"]
    known = [f"{split}_{value}" for split in splits for value in ("loss", *(["accuracy"] if spec.dataset.counts_answers else []))]
    for metric in beside_built_in(spec) if "val" in splits else ():
        name = f"val_{snake_case(metric.type)}"
        # an Accuracy with arguments stands in place of the plain one
        known = [each for each in known if each != name] + ([name] if gives_one_number(metric) else [])
    return known

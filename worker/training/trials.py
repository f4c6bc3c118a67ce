"""Small real trials, on CPU tensors of a few numbers: does the loss take the model's output, do metrics, optimizer and schedule run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from service.spec.catalog import Declared
from service.spec.dataset import Dataset
from service.spec.fixes import removing, setting
from service.spec.training import Optimizer
from service.spec.verdict import Fault
from worker.training.build import build_loss, build_metrics, build_mixing, build_scheduler, make_optimizer
from worker.training.deciding import Decision
from worker.training.evaluate import observed
from worker.training.shapes import TORCH_ERRORS, first_line
from worker.training.textbook import parameter_groups, targets_for

_CLASS_NUMBERS = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
"""Losses that take class numbers; of these only CrossEntropyLoss takes shares as well."""
_PROBABILITIES = ("Sigmoid", "Softmax", "Softmax2d", "Softmin", "Hardsigmoid")
_LARGE = 100_000
"""Numbers in one sample's output from which on a trial runs on fewer: what counts is their arrangement."""


def loss_faults(
    loss: Declared, dataset: Dataset, *, output: torch.Size, sample: torch.Size, last: str, at: str, outputs: str | None
) -> list[Fault]:
    """What is wrong between a model's output (one sample's shape) and the targets.

    `last` is its last layer, `at` where that stands, `outputs` where it says how many numbers it gives (None where nowhere).
    """
    classes = dataset.facts.num_classes
    is_class = dataset.target == "label" and dataset.facts.labels == "class"
    if is_class and loss.type in _CLASS_NUMBERS:
        found = _class_numbers(loss, dataset, output, at, outputs)
    else:
        found = _like_output(loss, dataset, output, sample, at)
    if loss.type == "BCELoss" and last and last not in _PROBABILITIES:
        detail = f"BCELoss takes probabilities of 0 to 1; {last} as the last layer gives others."
        cure, fix = "Use BCEWithLogitsLoss, or add Sigmoid.", setting("/loss/type", "BCEWithLogitsLoss")
        found.append(Fault(pointer="/loss", code="no_probabilities", detail=detail, suggestion=cure, fix=fix))
    weight = loss.arguments().get("weight")
    if weight is not None and loss.type in _CLASS_NUMBERS and not found and len(weight) != output[0]:
        detail = f"weight has {len(weight)} numbers; the model's output has {output[0]}, {dataset.type} {classes} classes."
        found.append(Fault(pointer="/loss/weight", code="wrong_size", detail=detail, suggestion=f"Give {output[0]}."))
    return found or _tried_loss(loss, dataset, output, sample)


def _class_numbers(loss: Declared, dataset: Dataset, output: torch.Size, at: str, outputs: str | None) -> list[Fault]:
    classes = dataset.facts.num_classes
    if len(output) != 1:
        detail = f"{loss.type} with class labels wants one number per class, [{classes}]; the model's output per sample is {list(output)}."
        suggestion = "Put a Flatten before the first Linear layer."
        return [Fault(pointer=at, code="wrong_output", detail=detail, suggestion=suggestion)]
    if output[0] < classes:
        detail = f"{dataset.type} has {classes} classes, but the model's output has {output[0]} numbers."
        suggestion = f"Give the last Linear out_features: {classes}."
        fix = setting(outputs, classes) if outputs else None
        return [Fault(pointer=at, code="wrong_output", detail=detail, suggestion=suggestion, fix=fix)]
    return []


def _like_output(loss: Declared, dataset: Dataset, output: torch.Size, sample: torch.Size, at: str) -> list[Fault]:
    """Everything but class numbers is compared number by number: a loss that broadcasts would compare the wrong ones."""
    target = _targets(dataset, sample, rows=2)
    if list(target.shape[1:]) == list(output) and not (target.dim() == 1 and output):
        return []
    is_label = dataset.target == "label" and dataset.facts.labels == "class"
    kind = "class labels, one whole number per sample" if is_label else f"targets of {list(target.shape[1:])} per sample"
    detail = (
        f"{loss.type} compares number by number: the model's output per sample is {list(output)}, target: {dataset.target} gives {kind}."
    )
    if is_label:
        suggestion = "Set dataset.target: one_hot, or use CrossEntropyLoss."
        fix = setting("/dataset/target", "one_hot") if loss.type.startswith("BCE") else setting("/loss", "CrossEntropyLoss")
        return [Fault(pointer="/loss", code="loss_target", detail=detail, suggestion=suggestion, fix=fix)]
    return [
        Fault(pointer=at, code="wrong_output", detail=detail, suggestion=f"Make the model's output {list(target.shape[1:])} per sample.")
    ]


def _tried_loss(loss: Declared, dataset: Dataset, output: torch.Size, sample: torch.Size) -> list[Fault]:
    """The loss and its backward on real numbers, where no rule knew better."""
    target = _targets(dataset, _small(sample), rows=2)
    refusal = _refusal(loss, _small(output), target)
    if refusal is not None:
        detail = f"{loss.type} refuses an output of {list(output)} with target: {dataset.target}: {refusal}"
        numbers = target.is_floating_point()
        suggestion = (
            "Set dataset.target: label."
            if numbers and loss.type in _CLASS_NUMBERS
            else "Set dataset.target: one_hot, or use CrossEntropyLoss."
        )
        return [Fault(pointer="/loss", code="loss", detail=detail, suggestion=suggestion)]
    return []


def _refusal(loss: Declared, output: torch.Size, target: torch.Tensor) -> str | None:
    """What torch says against the loss and its backward on two samples, if anything."""
    values = torch.full((2, *output), 0.5, requires_grad=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            build_loss(loss)(values, target).backward()
    except (*TORCH_ERRORS, UserWarning) as error:
        return first_line(error)
    return None


def mixing_faults(
    loss: Declared, dataset: Dataset, *, output: torch.Size, sample: torch.Tensor, at: str, outputs: str | None
) -> list[Fault]:
    """What is wrong between `batch_transforms`, a training sample, and a loss that takes the data set's targets as they are; see `loss_faults`."""
    kinds, pointer, classes = " and ".join(dataset.mixing), "/dataset/batch_transforms", dataset.facts.num_classes
    if dataset.target not in ("label", "one_hot"):
        detail = f"{kinds} makes targets shares of classes; target: {dataset.target} has none."
        cure, fix = "Set target: label or one_hot, or leave it out.", removing("/dataset/target")
        return [Fault(pointer=pointer, code="loss_target", detail=detail, suggestion=cure, fix=fix)]
    if loss.type in _CLASS_NUMBERS and loss.type != "CrossEntropyLoss":
        detail = f"{loss.type} takes class numbers; {kinds} makes targets shares of classes."
        cure = "Use CrossEntropyLoss."
        return [Fault(pointer="/loss", code="loss_target", detail=detail, suggestion=cure, fix=setting("/loss", "CrossEntropyLoss"))]
    if list(output) != [classes]:
        detail = f"{kinds} makes targets of {classes} shares per sample; the model's output per sample is {list(output)}."
        cure, sized = f"Give the last Linear out_features: {classes}.", setting(outputs, classes) if outputs else None
        return [Fault(pointer=at, code="wrong_output", detail=detail, suggestion=cure, fix=sized)]
    if not sample.is_floating_point():
        detail = f"{kinds} takes floating point numbers; the samples are {str(sample.dtype).removeprefix('torch.')}."
        suggestion = "End dataset.transforms with {type: ToDtype, dtype: float32, scale: true}."
        return [Fault(pointer=pointer, code="wrong_type", detail=detail, suggestion=suggestion)]
    try:
        _, shares = build_mixing(dataset)(torch.zeros((2, *sample.shape), dtype=sample.dtype), torch.arange(2) % classes)
    except TORCH_ERRORS as error:
        detail = f"{kinds} cannot be made, or cannot take batches of {list(sample.shape)} samples: {first_line(error)}"
        suggestion = "`p` of RandomChoice has one number for each of its transforms."
        return [Fault(pointer=pointer, code="transform", detail=detail, suggestion=suggestion)]
    refusal = _refusal(loss, output, shares)
    if refusal is None:
        return []
    detail = f"{loss.type} refuses targets that are shares of classes, as {kinds} makes them: {refusal}"
    return [Fault(pointer="/loss", code="loss", detail=detail, suggestion="Change its arguments, or leave batch_transforms out.")]


def _targets(dataset: Dataset, sample: torch.Size, *, rows: int) -> torch.Tensor:
    return targets_for(dataset.target, torch.full((rows, *sample), 0.5), _labels(dataset, rows), dataset.facts.num_classes)


def _labels(dataset: Dataset, rows: int) -> torch.Tensor:
    """Made-up labels: class numbers [rows], or numbers [rows, targets], each 0 and 1 among them."""
    classes = dataset.facts.num_classes
    if dataset.facts.labels == "class":
        return torch.arange(rows) % max(1, classes)  # data without labels have no class
    return ((torch.arange(rows)[:, None] + torch.arange(classes)) % 2).float()


def _small(shape: torch.Size) -> torch.Size:
    return shape if math.prod(shape) <= _LARGE else torch.Size([shape[0], *(min(each, 4) for each in shape[1:])])


def metric_faults(metrics: Sequence[Declared], dataset: Dataset, *, output: torch.Size, sample: torch.Size) -> list[Fault]:
    """Metrics that do not run on a batch of such outputs."""
    found = []
    for at, declared in enumerate(metrics):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _tried_metric(declared, dataset, output, sample)
        except TORCH_ERRORS as error:
            detail = f"{declared.type} cannot be measured here: {first_line(error)}"
            suggestion = "Change its arguments, or leave it out."
            where = f"/evaluation/metrics/{at}"
            found.append(Fault(pointer=where, code="metric", detail=detail, suggestion=suggestion, fix=removing(where)))
    return found


def _tried_metric(declared: Declared, dataset: Dataset, output: torch.Size, sample: torch.Size) -> None:
    rows = 8
    labels = _labels(dataset, rows)
    size = _small(output)
    values = torch.linspace(0.1, 0.9, rows * math.prod(size)).reshape(rows, *size)
    targets = targets_for(
        dataset.target,
        torch.linspace(0.1, 0.9, rows * math.prod(_small(sample))).reshape(rows, *_small(sample)),
        labels,
        dataset.facts.num_classes,
    )
    decision = Decision(dataset.task, 0.0, 1) if dataset.counts_answers else None
    for metric in build_metrics([declared], task=dataset.task, num_classes=max(dataset.facts.num_classes, output[0])).values():
        metric.update(*observed(type(metric).__name__, values, labels, targets, decision=decision))
        metric.compute()


def optimizer_faults(optimizer: Optimizer, module: nn.Module | None) -> tuple[list[Fault], torch.optim.Optimizer | None]:
    """What the optimizer refuses, and one over tiny parameters of the model's numbers of dimensions that has made a step."""
    if module is not None and not any(parameter.requires_grad for parameter in module.parameters()):
        detail = "Nothing in the model can be trained: it has no parameters, or all are frozen."
        return [
            Fault(pointer="/model", code="nothing_to_train", detail=detail, suggestion="Add a layer with weights, or freeze less.")
        ], None
    groups, found = _groups(optimizer, module)
    try:
        made = make_optimizer(optimizer, groups)
        for group in made.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.full_like(parameter, 0.1)
        made.step()
    except TORCH_ERRORS as error:
        suggestion = "Its arguments have to fit each other, and the model's parameters."
        detail, fix = f"{optimizer.type} refuses this: {first_line(error)}", None
        if optimizer.arguments().get("nesterov") and not optimizer.arguments()["momentum"]:
            suggestion, fix = "Give a momentum, for example 0.9.", setting("/optimizer/momentum", 0.9)
        return [*found, Fault(pointer="/optimizer", code="optimizer", detail=detail, suggestion=suggestion, fix=fix)], None
    return found, made


def _groups(optimizer: Optimizer, module: nn.Module | None) -> tuple[list[dict[str, Any]], list[Fault]]:
    if module is None:
        return [{"params": [_tiny(2)]}], []
    groups = parameter_groups(module, [(group.match, group.options()) for group in optimizer.groups])
    marked = parameter_groups(module, [(group.match, {"at": at}) for at, group in enumerate(optimizer.groups)])
    names = ", ".join(name for name, _ in list(module.named_parameters())[:6])
    found = [
        Fault(
            pointer=f"/optimizer/groups/{at}/match",
            code="no_match",
            detail=f"No parameter that is trained, and that no group before takes, matches {group.match!r}.",
            suggestion=f"Names here: {names}, ...",
        )
        for at, group in enumerate(optimizer.groups)
        if at not in {each.get("at") for each in marked}
    ]
    tiny = [{**group, "params": [_tiny(dims) for dims in sorted({parameter.dim() for parameter in group["params"]})]} for group in groups]
    return tiny, found


def _tiny(dims: int) -> nn.Parameter:
    # two numbers a side, so that what is kept by rows and columns shows as such
    return nn.Parameter(torch.full((2,) * dims, 0.5))


def scheduler_faults(scheduler: Declared, declared: Optimizer, tiny: torch.optim.Optimizer) -> list[Fault]:
    """What the schedule refuses over a fresh optimizer with the groups of the tiny one, in its first steps."""
    groups = [{**group, "params": [_tiny(each.dim()) for each in group["params"]]} for group in tiny.param_groups]
    optimizer = make_optimizer(declared, groups)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 0.1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = build_scheduler(scheduler, optimizer)
            for _ in range(min(3, getattr(made, "total_steps", 3))):
                optimizer.step()
                made.step(*([0.5] if scheduler.type == "ReduceLROnPlateau" else []))
    except TORCH_ERRORS as error:
        detail = f"{scheduler.type} refuses this: {first_line(error)}"
        suggestion, fix = "Its arguments have to fit each other, and the optimizer.", None
        if "momentum" in str(error):
            suggestion = "Give the optimizer a momentum, or set cycle_momentum: false."
            fix = setting("/lr_scheduler/cycle_momentum", value=False) if "cycle_momentum" in scheduler.arguments() else None
        return [Fault(pointer="/lr_scheduler", code="scheduler", detail=detail, suggestion=suggestion, fix=fix)]
    return []

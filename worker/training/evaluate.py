"""Evaluation: `model.eval()`, no gradients, predictions against labels."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from service.spec.job import JobSpec
from worker.training.answers import Answers
from worker.training.data import Batch
from worker.training.deciding import Decision
from worker.training.facts import Evaluating
from worker.training.textbook import targets_for

BY_SAMPLE = ("CosineSimilarity", "KLDivergence", "JensenShannonDivergence")
"""Regression metrics that compare sample with sample; the others compare number with number."""


@dataclass(frozen=True)
class Evaluation:
    """`loss` is the mean over samples, `accuracy` a share of 0-1, `confusion` int64 [classes, classes], rows true, columns predicted.

    The latter two are None where nothing is right or wrong, or, of the second, where a sample has several labels. `metrics` are the others asked for: numbers, or lists of them.
    """

    loss: float
    accuracy: float | None
    confusion: torch.Tensor | None
    metrics: dict[str, Any] = field(default_factory=dict)

    def scalars(self, prefix: str) -> dict[str, float]:
        """Every finite single number, by its name after a prefix."""
        plain = {"loss": self.loss, "accuracy": self.accuracy, **self.metrics}
        return {f"{prefix}_{name}": value for name, value in plain.items() if isinstance(value, float) and math.isfinite(value)}


def evaluate(
    model: nn.Module,
    loss_fn: nn.Module,
    batches: Iterable[Batch],
    *,
    spec: JobSpec,
    metrics: Mapping[str, Any] | None = None,
    beside: Sequence[Answers] = (),
) -> Generator[Evaluating, None, Evaluation]:
    """Predictions against labels over all batches. Leaves the model in eval mode and draws nothing from any generator.

    Yields after each batch; the result is what it returns. `beside` look at every batch, too.
    """
    model.eval()
    device = next(model.parameters(), torch.empty(0)).device
    dataset, classes, decision = spec.dataset, spec.dataset.facts.num_classes, Decision.of(spec)
    total = torch.zeros((), dtype=torch.float64, device=device)
    right = torch.zeros((), dtype=torch.int64, device=device)
    confusion = None
    samples = 0
    for done, (inputs, labels) in enumerate(batches, 1):
        with torch.inference_mode():
            outputs = model(inputs)
            targets = targets_for(dataset.target, inputs, labels, classes)
            total += summed(loss_fn(outputs, targets), len(labels), loss_fn)
            if decision is not None and decision.task == "multilabel":
                right += decision.right(outputs, labels)
            elif decision is not None:
                counts = _counted(decision, outputs, labels, classes)
                confusion = counts if confusion is None else confusion + counts
            for metric in (metrics or {}).values():
                metric.to(device).update(*observed(type(metric).__name__, outputs, labels, targets, decision=decision))
            for each in beside:
                each.see(outputs, labels)
        samples += len(labels)
        yield Evaluating(batches=done)
    return Evaluation(
        loss=total.item() / samples,
        accuracy=None
        if decision is None
        else (right if confusion is None else confusion.diagonal().sum()).item() / (samples * decision.answers),
        confusion=None if confusion is None else confusion.cpu(),
        metrics={name: _taken(metric) for name, metric in (metrics or {}).items()},
    )


def ask(model: nn.Module, batches: Iterable[Batch], *, beside: Sequence[Answers]) -> Generator[Evaluating]:
    """The model's answers to batches that have no labels, for those `beside` to look at. Yields after each batch."""
    model.eval()
    for done, (inputs, labels) in enumerate(batches, 1):
        with torch.inference_mode():
            outputs = model(inputs)
            for each in beside:
                each.see(outputs, labels)
        yield Evaluating(batches=done)


def observed(
    name: str, outputs: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor, *, decision: Decision | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a metric is shown: outputs and class numbers; probabilities of a yes; or, in a regression, sample by sample or number by number."""
    if decision is not None and decision.task == "classification":
        return outputs, labels
    if decision is not None:
        return decision.probabilities(outputs), labels.long()
    if name in BY_SAMPLE:
        return outputs.flatten(1), targets.flatten(1)
    return outputs.flatten(), targets.flatten()


def summed(loss: torch.Tensor, samples: int, loss_fn: nn.Module) -> torch.Tensor:
    """A batch's loss as a sum over its samples, in float64; stays on the device."""
    return loss.detach().double() * (1 if getattr(loss_fn, "reduction", "mean") == "sum" else samples)


def _counted(decision: Decision, outputs: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """How often each answer was given for each label, [classes, classes]."""
    classes = max(classes, outputs.shape[1]) if decision.task == "classification" else 2
    answers = decision.chosen(outputs).flatten().long()
    pairs = torch.bincount(labels.long().flatten() * classes + answers, minlength=classes * classes)
    return pairs.view(classes, classes)


def _taken(metric: Any) -> Any:
    """The metric's value as JSON has it, numbers that are none as null; the metric starts afresh."""
    value = _plain(metric.compute())
    metric.reset()
    return value


def _plain(value: Any) -> Any:
    match value:
        case torch.Tensor():
            return _plain(value.double().tolist() if value.is_floating_point() else value.tolist())
        case list() | tuple():
            return [_plain(each) for each in value]
        case float():
            return value if math.isfinite(value) else None
        case int():
            return float(value)
    return value

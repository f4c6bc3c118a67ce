"""The samples that a model is most wrong about, whatever it answers: a class, yes or no, numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from service.spec.dataset import Dataset, Task
from service.spec.job import JobSpec
from worker.training.deciding import Decision
from worker.training.regression import MOST_TARGETS, said

MOST_WRONG = 25

Measured = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Errors, -infinity where an answer is right; what the samples are; what was answered: each [B, answers]."""


@dataclass(frozen=True)
class Mistake:
    """A sample of the split by its place, what it is, and what the model took it for: numbers of classes, 1 and 0 for yes and no, or numbers.

    `error` says how far: of classes, by how much the answer's output lies above the right one's; of yes and no, by how much the output lies
    beyond the threshold; of numbers, the difference. `of` is the label or target that it is about, where a sample may have several.
    """

    index: int
    label: float
    answer: float
    error: float = 0.0
    of: int = 0


class MostWrong:
    """Wrong answers, the worst first: of all labels together, of each target of a regression apart, as targets have units of their own."""

    def __init__(self, measure: Callable[[torch.Tensor, torch.Tensor], Measured], *, most: int = MOST_WRONG, apart: bool = False) -> None:
        self._measure, self._most, self._apart, self._seen = measure, most, apart, 0
        self._errors: torch.Tensor | None = None
        self._found = torch.empty(0)

    @classmethod
    def of(cls, spec: JobSpec) -> MostWrong | None:
        """What a spec's answers are judged by; None where these are samples themselves."""
        decision = Decision.of(spec)
        if decision is None:
            return None if spec.dataset.target == "input" else cls(_of_numbers(spec), apart=True)
        return cls(of_classes if decision.task == "classification" else _of_yes_and_no(decision))

    def see(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Keep what is worse than the mildest that is kept."""
        errors, truths, answers = self._measure(outputs.float(), labels)
        rows, width = errors.shape
        index = torch.arange(self._seen, self._seen + rows, device=errors.device).unsqueeze(1).expand(rows, width)
        of = torch.arange(width, device=errors.device).expand(rows, width)
        found = torch.stack([each.double() for each in (index, of, truths, answers)], dim=2)
        self._seen += rows
        if not self._apart:
            errors, found = errors.reshape(-1, 1), found.reshape(-1, 1, 4)
        if self._errors is not None:
            errors, found = torch.cat([self._errors, errors]), torch.cat([self._found, found])
        # stable, so that of two that are equally wrong the earlier one stands first on every machine
        kept = errors.sort(dim=0, descending=True, stable=True).indices[: self._most]
        self._errors, self._found = errors.gather(0, kept), found.gather(0, kept.unsqueeze(2).expand(*kept.shape, 4))

    def mistakes(self) -> list[Mistake]:
        """The worst of all that was seen, worst first, target by target; nothing that was right is among them."""
        if self._errors is None:
            return []
        return [
            Mistake(index=int(index), of=int(of), label=label, answer=answer, error=error)
            for errors, found in zip(self._errors.T.tolist(), self._found.transpose(0, 1).tolist(), strict=True)
            for error, (index, of, label, answer) in zip(errors, found, strict=True)
            if error != -torch.inf
        ]


def of_classes(outputs: torch.Tensor, labels: torch.Tensor) -> Measured:
    """Of outputs [B, classes]."""
    highest, answers = outputs.max(1)
    gaps = highest - outputs.gather(1, labels[:, None])[:, 0]
    return gaps.masked_fill(answers == labels, -torch.inf)[:, None], labels[:, None], answers[:, None]


def _of_yes_and_no(decision: Decision) -> Callable[[torch.Tensor, torch.Tensor], Measured]:
    def measure(outputs: torch.Tensor, labels: torch.Tensor) -> Measured:
        truths, answers = labels.bool().reshape(len(labels), -1), decision.chosen(outputs)
        beyond = (outputs.reshape(len(outputs), -1) - decision.threshold).abs()
        return beyond.masked_fill(answers == truths, -torch.inf), truths, answers

    return measure


def _of_numbers(spec: JobSpec) -> Callable[[torch.Tensor, torch.Tensor], Measured]:
    def measure(outputs: torch.Tensor, labels: torch.Tensor) -> Measured:
        answers, truths = said(outputs, spec.loss).flatten(1), labels.float().reshape(len(labels), -1)
        errors = (answers - truths).abs()
        return tuple(each[:, :MOST_TARGETS] for each in (errors.masked_fill(errors == 0, -torch.inf), truths, answers))  # type: ignore[return-value]  # three

    return measure


def as_rows(mistakes: Sequence[Mistake], dataset: Dataset, *, names: Sequence[str], rows: torch.Tensor | None) -> list[dict[str, Any]]:
    """The mistakes as a table has them: index (in the split), row (of a table, from 1), label or target, true, predicted, error.

    `names` are those of classes, labels or targets; `rows` say where each sample of the split stands in its table, from 0.
    """
    found = []
    for mistake in mistakes:
        row: dict[str, Any] = {"index": mistake.index}
        if rows is not None:
            row["row"] = int(rows[mistake.index]) + 1
        if dataset.facts.labels != "class" and dataset.facts.num_classes > 1:
            row["label" if dataset.task == "multilabel" else "target"] = names[mistake.of] if mistake.of < len(names) else str(mistake.of)
        row["true"], row["predicted"] = (_word(each, dataset.task, names) for each in (mistake.label, mistake.answer))
        found.append(row | {"error": f"{mistake.error:.7g}"})
    return found


def _word(value: float, task: Task, names: Sequence[str]) -> str:
    match task:
        case "regression":
            return f"{value:.7g}"
        case "multilabel":
            return "yes" if value else "no"
    return names[int(value)] if value < len(names) else f"{value:.0f}"

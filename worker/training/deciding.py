"""What an output answers, and whether that is right: one class of several, or yes and no."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from service.spec.dataset import Task
from service.spec.job import JobSpec


@dataclass(frozen=True)
class Decision:
    """How outputs of a task become answers. `threshold` is what an output has to be above for a yes."""

    task: Task
    threshold: float
    answers: int
    """Of one sample: one, or one for each label."""

    @classmethod
    def of(cls, spec: JobSpec) -> Decision | None:
        """The decision that a spec's model takes; None where it gives numbers."""
        task = spec.dataset.task
        if task == "regression":
            return None
        # after a Sigmoid, as BCELoss wants it, outputs are probabilities; else they are logits
        threshold = 0.5 if spec.loss.type == "BCELoss" else 0.0
        return cls(task, threshold, spec.dataset.facts.num_classes if task == "multilabel" else 1)

    def right(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """How many answers are right, int64 []: outputs [B, classes, ...], [B, 1] or [B, labels]; labels [B], or [B, labels].

        Of mixed labels, which are shares of classes, the largest counts.
        """
        if self.task == "classification":
            return (outputs.argmax(1) == (labels.argmax(1) if labels.is_floating_point() else labels)).sum()
        return (self.chosen(outputs) == labels.bool().reshape(len(labels), -1)).sum()

    def chosen(self, outputs: torch.Tensor) -> torch.Tensor:
        """The answers: class numbers [B, ...], or for each label whether it is a yes, bool [B, labels]."""
        return outputs.argmax(1) if self.task == "classification" else outputs.reshape(len(outputs), -1) > self.threshold

    def probabilities(self, outputs: torch.Tensor) -> torch.Tensor:
        """Of a yes, [B] or [B, labels]: what metrics are shown."""
        certain = outputs if self.threshold else outputs.sigmoid()
        return certain.flatten() if self.task == "binary" else certain

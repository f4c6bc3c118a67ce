"""Evaluation: `model.eval()`, no gradients, predictions against labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from worker.training.data import Batch


@dataclass(frozen=True)
class Evaluation:
    """`loss` is the mean over samples, `accuracy` a share of 0-1, `confusion` int64 [classes, classes], rows true, columns predicted."""

    loss: float
    accuracy: float
    confusion: torch.Tensor


def evaluate(model: nn.Module, loss_fn: nn.Module, batches: Iterable[Batch], *, num_classes: int) -> Evaluation:
    """Predictions against labels over all batches. Leaves the model in eval mode and draws nothing from any generator."""
    model.eval()
    device = next(model.parameters(), torch.empty(0)).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    pairs = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)
    samples = 0
    with torch.inference_mode():
        for inputs, targets in batches:
            logits = model(inputs)
            total += summed(loss_fn(logits, targets), len(targets), loss_fn)
            pairs += torch.bincount(targets * num_classes + logits.argmax(1), minlength=num_classes * num_classes)
            samples += len(targets)
    confusion = pairs.view(num_classes, num_classes).cpu()
    return Evaluation(loss=total.item() / samples, accuracy=confusion.diagonal().sum().item() / samples, confusion=confusion)


def summed(loss: torch.Tensor, samples: int, loss_fn: nn.Module) -> torch.Tensor:
    """A batch's loss as a sum over its samples, in float64; stays on the device."""
    return loss.detach().double() * (samples if getattr(loss_fn, "reduction", "mean") == "mean" else 1)

"""Numbers that a model says beside the true ones: some points to draw, and R2 and mean absolute error over all samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from service.spec.catalog import Declared
from worker.training.answers import probabilities

MOST_TARGETS = 9
"""Targets that are looked at one by one, the first ones."""
MOST_POINTS = 5_000
"""Of a target: every so many-th sample, so that no more are drawn."""


@dataclass(frozen=True)
class Fit:
    """How near a target's predictions are. `points` float32 [samples, 2], true and predicted; `r2` is None where all true ones are equal."""

    points: torch.Tensor
    r2: float | None
    mae: float


class Fits:
    """Sees the `size` samples of a split, outputs and labels [B, targets]."""

    def __init__(self, loss: Declared, *, size: int) -> None:
        self._loss, self._every, self._seen = loss, max(1, -(-size // MOST_POINTS)), 0
        self._points: list[torch.Tensor] = []
        self._sums: torch.Tensor | None = None
        self._shift = torch.empty(0)

    def see(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """The next batch."""
        predicted = said(outputs.float(), self._loss).flatten(1)[:, :MOST_TARGETS]
        true = labels.float().reshape(len(labels), -1)[:, :MOST_TARGETS]
        pairs = torch.stack([true, predicted], dim=2)
        self._points.append(pairs[-self._seen % self._every :: self._every])
        self._seen += len(labels)
        if self._sums is None:  # squares of numbers that lie around zero lose no digits
            self._shift = true.double().mean(0)
        errors, centred = (predicted - true).double(), true.double() - self._shift
        sums = torch.stack([errors.abs().sum(0), (errors**2).sum(0), centred.sum(0), (centred**2).sum(0)])
        self._sums = sums if self._sums is None else self._sums + sums

    def fits(self) -> list[Fit]:
        """Of each target."""
        if self._sums is None:
            return []
        points = torch.cat(self._points).cpu()
        found = []
        for at, (off, squares, total, spread) in enumerate(self._sums.T.tolist()):
            around = spread - total**2 / self._seen
            r2 = 1 - squares / around if around > 0 else None
            found.append(Fit(points=points[:, at], r2=r2, mae=off / self._seen))
        return found


def said(outputs: torch.Tensor, loss: Declared) -> torch.Tensor:
    """The numbers that outputs [B, ...] stand for, on the scale of the targets, as the loss takes them."""
    shares = probabilities(outputs, loss.type)
    if shares is not None:
        return shares
    arguments = loss.arguments()
    logarithm = (loss.type == "PoissonNLLLoss" and arguments["log_input"]) or (loss.type == "KLDivLoss" and not arguments["log_target"])
    return outputs.exp() if logarithm else outputs

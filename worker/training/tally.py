"""What the batches of an epoch add up to, read as seldom as can be: a number that is read makes the program wait for the device."""

from __future__ import annotations

import math
from typing import Any

import torch

from worker.training.deciding import Decision

KEPT_BATCHES = 1024
KEPT_ELEMENTS = 2**20
"""So many batches, and elements of outputs, may wait to be counted."""


LoggedStep = tuple[int, int, float, float]
"""Its number since the job's start, the epoch that it was in (from 1), its loss, the learning rate that it was made with."""
_Mark = tuple[int, int, int, int, float]
"""How many batches there were in all, how many of them made the step; and of that number, epoch and learning rate."""


class Tally:
    """Sums over the samples of the running epoch: of the loss, of right answers.

    Batches wait as they are, and `fold` adds them up in their order: the sums have the same bits wherever a checkpoint cuts the epoch.
    On the way it takes down the losses of the steps that were marked; at most `accumulated` batches make one.
    """

    def __init__(self, *, decision: Decision | None, loss_is_sum: bool, accumulated: int = 1) -> None:
        self._decision, self._loss_is_sum, self._accumulated = decision, loss_is_sum, accumulated
        self._loss_sum, self._correct, self._samples = 0.0, 0, 0
        self._losses: list[torch.Tensor] = []
        self._sizes: list[int] = []
        self._outputs: list[torch.Tensor] = []
        self._labels: list[torch.Tensor] = []
        self._elements = 0
        self._first = self._folded = 0
        self._wrong: tuple[int, float] | None = None
        self._means: list[float] = []
        """Of the last batches that were read: a step that is marked later may have begun with them."""
        self._read = 0
        self._marks: list[_Mark] = []
        self._logged: list[LoggedStep] = []

    def start(self, batch: int) -> None:
        """The next batch is the epoch's one with this number, from 0."""
        self._first, self._folded, self._wrong = batch, 0, None

    def add(self, loss: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Take a batch in: its mean loss, its outputs [B, classes, ...] and labels [B], or shares of classes [B, classes]."""
        self._losses.append(loss.detach())
        self._sizes.append(len(labels))
        if self._decision is not None:
            self._outputs.append(outputs.detach())
            self._labels.append(labels)
            self._elements += outputs.numel()
        self._fold_if_full()

    def _fold_if_full(self) -> None:
        if len(self._losses) >= KEPT_BATCHES or self._elements >= KEPT_ELEMENTS:
            self.fold()

    def mark(self, *, step: int, epoch: int, batches: int, lr: float) -> None:
        """The last so many batches made this step, whose loss is to be told: their mean. `epoch` is the one it was in, from 1."""
        self._marks.append((self._read + len(self._losses), batches, step, epoch, lr))

    def logged(self) -> list[LoggedStep]:
        """The steps that were marked since the last call. Waits for the device."""
        self.fold()
        self._take_down([])  # a step whose batches were read before it was marked
        logged, self._logged = self._logged, []
        return logged

    def fold(self) -> None:
        """Add up what waits. Waits for the device."""
        if not self._losses:
            return
        losses: list[float] = torch.stack(self._losses).tolist()
        for loss, size in zip(losses, self._sizes, strict=True):
            if self._wrong is None and not math.isfinite(loss):
                self._wrong = (self._first + self._folded, loss)
            self._loss_sum += loss * (1 if self._loss_is_sum else size)
            self._folded += 1
        if self._decision is not None:
            self._correct += self._right()
        self._samples += sum(self._sizes)
        self._take_down([loss / size for loss, size in zip(losses, self._sizes, strict=True)] if self._loss_is_sum else losses)
        self._elements = 0
        for waiting in (self._losses, self._sizes, self._outputs, self._labels):
            waiting.clear()

    def _right(self) -> int:
        assert self._decision is not None  # noqa: S101  # else nobody asks
        return int(self._decision.right(torch.cat(self._outputs), torch.cat(self._labels)))

    def _take_down(self, means: list[float]) -> None:
        first = self._read - len(self._means)
        self._means += means
        self._read += len(means)
        for end, batches, step, epoch, lr in self._marks:
            members = self._means[end - batches - first : end - first]
            self._logged.append((step, epoch, sum(members) / batches, lr))
        self._marks.clear()
        self._means = self._means[-self._accumulated :]

    def wrong(self) -> tuple[int, float] | None:
        """The first batch since `start` whose loss is no number, by its number in the epoch, and that loss. Waits for the device."""
        self.fold()
        return self._wrong

    def metrics(self) -> dict[str, float]:
        """`train_loss` and, where answers are right or wrong, `train_accuracy`: means over the epoch's samples so far."""
        self.fold()
        means = {"train_loss": self._loss_sum / max(1, self._samples)}
        if self._decision is None:
            return means
        return means | {"train_accuracy": self._correct / max(1, self._samples * self._decision.answers)}

    @property
    def samples(self) -> int:
        """How many samples the epoch has had."""
        return self._samples + sum(self._sizes)

    def reset(self) -> None:
        """Begin an epoch: nothing yet."""
        self._loss_sum, self._correct, self._samples = 0.0, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, as a checkpoint keeps them."""
        self.fold()
        return {"loss_sum": self._loss_sum, "correct": self._correct, "samples": self._samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the sums of a checkpoint."""
        self._loss_sum, self._correct, self._samples = state["loss_sum"], state["correct"], state["samples"]

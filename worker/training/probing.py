"""`precision: auto`: every plan that this machine can do takes a few steps on the job's own first batches, and the fastest is taken."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from worker.training.plan import Plan

STEPS = 5
"""Timed steps of each plan, after one that warms up."""
SECONDS = 0.5
"""A plan that has used so much takes no further step, once it has taken one that counts."""
WORTH = 0.95
"""Rounding otherwise has to bring at least this: a share of the time of the plan before it."""
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Timed:
    """A plan, and the milliseconds of the fastest of its steps, which neighbours on the machine disturbed least; None where it failed."""

    plan: Plan
    milliseconds: float | None

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.plan}: {'failed' if self.milliseconds is None else f'{self.milliseconds:.2f} ms'}"


@dataclass(frozen=True)
class Probe:
    """What a step consists of. Nothing that it does is seen outside: models are copies, and no generator is moved."""

    model: nn.Module
    loss_fn: nn.Module
    make_optimizer: Callable[[nn.Module, Plan], torch.optim.Optimizer]
    batches: Sequence[Batch]
    """Inputs and targets, on the device; at least one."""
    device: torch.device

    def choose(self, asked: Plan, *, can_fuse: bool) -> tuple[Plan, list[Timed]]:
        """The plan to take, and every measurement. Another than what was asked for is taken only where it is clearly faster."""
        best, *others = timed = [self._timed(plan) for plan in self._plans(asked)]
        best = _faster(best, others)
        if can_fuse and not asked.fused:
            timed.append(self._timed(replace(best.plan, fused=True)))
            best = _faster(best, timed[-1:])
        return best.plan, timed

    def _plans(self, asked: Plan) -> list[Plan]:
        """The textbook's arithmetic first; what the spec asks for itself is part of each."""
        narrow = "bfloat16" if self.device.type == "cpu" or torch.cuda.is_bf16_supported() else "float16"
        has_kernels = any(parameter.dim() == 4 for parameter in self.model.parameters())
        layouts = [False, True] if has_kernels and not asked.channels_last else [asked.channels_last]
        return [replace(asked, precision=precision, channels_last=layout) for precision in ("float32", narrow) for layout in layouts]

    def _timed(self, plan: Plan) -> Timed:
        return Timed(plan, self.milliseconds(plan))

    def milliseconds(self, plan: Plan) -> float | None:
        """Of one training step: forward, loss, backward, update, reset. None where the model cannot do it in this arithmetic."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            model = copy.deepcopy(self.model)
            plan.lay_out(model)
            optimizer, scaler, forward = self.make_optimizer(model, plan), plan.scaler(self.device), plan.forward(model, self.device)
            model.train()
            taken: list[float] = []
            try:
                for at in range(STEPS + 1):
                    inputs, targets = self.batches[at % len(self.batches)]
                    started = time.perf_counter()
                    scaler.scale(self.loss_fn(forward(inputs), targets)).backward()
                    scaler.step(optimizer)
                    scaler.update()
                    optimizer.zero_grad(set_to_none=True)
                    _wait(self.device)
                    taken.append((time.perf_counter() - started) * 1000)
                    if len(taken) > 1 and sum(taken) > 1000 * SECONDS:
                        break
            except RuntimeError:  # torch's word for an operator that has no such form
                return None
        return min(taken[1:] or taken)


def _faster(best: Timed, others: Sequence[Timed]) -> Timed:
    for each in others:
        if each.milliseconds is not None and (best.milliseconds is None or each.milliseconds < WORTH * best.milliseconds):
            best = each
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""What a training step costs, counted on `meta`: operations, and memory for weights, gradients, optimizer state and activations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from service.spec.verdict import Memory


@dataclass(frozen=True)
class Forward:
    """One forward pass in training: its output, its floating point operations, and what it keeps for the backward pass."""

    output: torch.Tensor
    flops: int
    kept_bytes: int
    largest_bytes: int


def forward(module: nn.Module, batch: torch.Tensor) -> Forward:
    """Run a batch through on meta, counting. Raises what torch raises."""
    kept: dict[int, int] = {}
    own = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers(), batch)}  # noqa: SLF001  # the storage's identity

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:  # noqa: SLF001  # see above
            kept[storage._cdata] = storage.nbytes()  # noqa: SLF001
        return tensor

    held = list[torch.Tensor]()

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor)  # else its storage's identity may be given to another
        return keep(tensor)

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        output = module(batch)
    return Forward(
        output=output, flops=counter.get_total_flops(), kept_bytes=sum(kept.values()), largest_bytes=max(kept.values(), default=0)
    )


def memory(module: nn.Module, optimizer: torch.optim.Optimizer, *, passed: Forward, batch: torch.Tensor, averaged: bool = False) -> Memory:
    """Bytes of a training step at its fullest, the samples that a GPU may hold not counted; `averaged`: a moving average of the weights is kept.

    `optimizer` has made a step over tiny parameters of the same numbers of dimensions.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    weights = _bytes([*module.parameters(), *module.buffers()]) * (2 if averaged else 1)
    # the batch as it came, the output with its gradient, and the largest gradient that passes back through the rest
    activations = passed.kept_bytes + passed.largest_bytes + _bytes([batch]) + 2 * _bytes([passed.output])
    keeps_state = any(optimizer.state.values())
    return Memory(
        weights=weights,
        gradients=_bytes(trained),
        optimizer_state=sum(_state_bytes(optimizer, parameter) for parameter in trained),
        activations=activations,
        # on the CPU parameters are updated one by one: the root of a running square, and the update itself
        scratch=(2 if keeps_state else 1) * max((_bytes([parameter]) for parameter in trained), default=0),
    )


def _bytes(tensors: list[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _state_bytes(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> int:
    """What the optimizer keeps for a parameter, by what it keeps for a tiny one of as many dimensions."""
    tiny = next((each for group in optimizer.param_groups for each in group["params"] if each.dim() == parameter.dim()), None)
    if tiny is None:
        return 0
    kept = [
        value for value in optimizer.state[tiny].values() if isinstance(value, torch.Tensor) and value.dim() == tiny.dim() and value.dim()
    ]
    sizes = [[full if side == 2 else side for side, full in zip(value.shape, parameter.shape, strict=True)] for value in kept]
    return sum(math.prod(size) * value.element_size() for size, value in zip(sizes, kept, strict=True))

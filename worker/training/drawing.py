"""Modules that draw at random, where a process has a part of each batch: what one process would draw for the whole, each draws, and uses its part.

So the generators of all processes stay in step, and a checkpoint holds the state of one. Attention and recurrent nets, which would have to compute
the whole batch for that, and RReLU draw for their part from a generator of the process's own; the one that all share moves by one number.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

import worker.training.vision  # noqa: F401  # before torchvision
from worker.training.textbook import seed_of

from torchvision.ops import StochasticDepth  # isort: skip

_WHOLE = (nn.modules.dropout._DropoutNd, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d, StochasticDepth)  # noqa: SLF001  # the family's name
"""What is done to a sample here does not depend on the others, but for the order of the draws."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Samples `start` to `stop` of a batch of `size`. `share` is what of the batch they are, 0 where they are lent: another process has them."""

    start: int = 0
    stop: int = 0
    size: int = 0
    share: float = 1.0

    @property
    def rows(self) -> slice:
        """Where they lie."""
        return slice(self.start, self.stop)


class Holder(Protocol):
    """Who knows the part at hand."""

    rank: int
    part: Part


def twin(model: nn.Module, ranks: Holder) -> nn.Module:
    """The model once more, over the same parameters and buffers, whose modules draw as this process's part of a batch needs it."""
    own = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    copied = copy.deepcopy(model, own)
    if isinstance(copied, _WHOLE):
        return WholeBatch(copied, ranks)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, _WHOLE):
                setattr(module, name, WholeBatch(child, ranks))
        if _draws_inside(module):
            _draw_apart(module, ranks)
    return copied


class WholeBatch(nn.Module):
    """A module that draws for every sample, given a part: it draws for the whole batch."""

    def __init__(self, drawing: nn.Module, ranks: Holder) -> None:
        super().__init__()
        self.drawing, self._ranks = drawing, ranks

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The part's outputs."""
        part = self._ranks.part
        if len(input) != part.stop - part.start:  # samples do not come first here: what one process would draw cannot be told
            with _Apart(self._ranks, input.device):
                return self._drawn(input)
        whole = input.new_zeros((part.size, *input.shape[1:]))
        if input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last):  # draws go by the order in memory
            whole = whole.contiguous(memory_format=torch.channels_last)
        whole[part.rows] = input
        return self._drawn(whole)[part.rows]

    def _drawn(self, input: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.drawing(input)
        return output


def _draws_inside(module: nn.Module) -> bool:
    """Attention and recurrent nets drop without a module for it; how often RReLU draws depends on what it is given."""
    return isinstance(module, nn.RReLU) or (isinstance(module, nn.MultiheadAttention | nn.RNNBase) and module.dropout > 0)


class _Apart:
    """While this lasts, the device's generator is one of this process's own, seeded by the next number of the shared one and the rank."""

    def __init__(self, ranks: Holder, device: torch.device) -> None:
        self._seed = seed_of(int(torch.empty((), dtype=torch.int64).random_()), ranks.rank, 0)
        self._device = device

    def __enter__(self) -> None:
        if self._device.type == "cuda":
            self._before = torch.cuda.get_rng_state(self._device)
            torch.cuda.manual_seed(self._seed)
        else:
            self._before = torch.get_rng_state()
            torch.default_generator.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(self._before, self._device)
        else:
            torch.set_rng_state(self._before)


def _draw_apart(module: nn.Module, ranks: Holder) -> None:
    """Have the module draw so, by its hooks: whoever holds it looks at its attributes, too."""
    entered: list[_Apart] = []

    def enter(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        entered.append(_Apart(ranks, inputs[0].device))
        entered[-1].__enter__()

    def leave(*_: Any) -> None:
        if entered:
            entered.pop().__exit__()

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)

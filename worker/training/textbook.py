"""What a spec can say that torch has no class for, in plain PyTorch. `train.py` carries the source of what it uses, word for word.

So nothing here may use anything but torch, the standard library, and what stands above it on this page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset


class Residual(nn.Module):
    """layers(x) + x, the latter through `shortcut` where one is given (He 2015)."""

    def __init__(self, layers: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = layers
        self.shortcut = shortcut

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The sum."""
        output: torch.Tensor = self.layers(input)
        return output + (input if self.shortcut is None else self.shortcut(input))


class Concat(nn.Module):
    """Branches over one input, joined along a dimension."""

    def __init__(self, branches: Sequence[nn.Module], dim: int = 1) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.dim = dim

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The joined outputs."""
        return torch.cat([branch(input) for branch in self.branches], dim=self.dim)


class Parallel(nn.Module):
    """Branches over one input, added, multiplied or averaged."""

    def __init__(self, branches: Sequence[nn.Module], merge: str = "add") -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.merge = merge

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The one output."""
        output: torch.Tensor = self.branches[0](input)
        for branch in self.branches[1:]:
            output = output * branch(input) if self.merge == "multiply" else output + branch(input)
        return output / len(self.branches) if self.merge == "mean" else output


class Graph(nn.Module):
    """A forward pass as named steps: (name, inputs, module), in an order in which each comes after its inputs."""

    def __init__(self, nodes: Mapping[str, nn.Module], steps: Sequence[tuple[str, Sequence[str]]], output: str) -> None:
        super().__init__()
        for name, module in nodes.items():
            self.add_module(name, module)
        self._steps, self._output = steps, output

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The output node's value."""
        values = {"input": input}
        for name, inputs in self._steps:
            values[name] = self.get_submodule(name)(*(values[each] for each in inputs))
        return values[self._output]


class RNN(nn.RNN):
    """nn.RNN that hands on one tensor: every step's output, or the last layer's final hidden state."""

    def __init__(self, *args: Any, returns: str = "sequence", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.returns = returns

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # one tensor in, one out
        """Outputs [batch, steps, features], or [batch, features]."""
        output, hidden = super().forward(input)
        if self.returns == "sequence":
            return output
        return torch.cat((hidden[-2], hidden[-1]), dim=1) if self.bidirectional else hidden[-1]


class GRU(nn.GRU):
    """nn.GRU that hands on one tensor: every step's output, or the last layer's final hidden state."""

    def __init__(self, *args: Any, returns: str = "sequence", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.returns = returns

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # one tensor in, one out
        """Outputs [batch, steps, features], or [batch, features]."""
        output, hidden = super().forward(input)
        if self.returns == "sequence":
            return output
        return torch.cat((hidden[-2], hidden[-1]), dim=1) if self.bidirectional else hidden[-1]


class LSTM(nn.LSTM):
    """nn.LSTM that hands on one tensor: every step's output, or the last layer's final hidden state."""

    def __init__(self, *args: Any, returns: str = "sequence", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.returns = returns

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # one tensor in, one out
        """Outputs [batch, steps, features], or [batch, features]."""
        output, (hidden, _) = super().forward(input)
        if self.returns == "sequence":
            return output
        return torch.cat((hidden[-2], hidden[-1]), dim=1) if self.bidirectional else hidden[-1]


class LSTMCell(nn.LSTMCell):
    """nn.LSTMCell that hands on the hidden state alone."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # one tensor in, one out
        """The hidden state [batch, features] after one step."""
        return super().forward(input)[0]


class MultiheadAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention of a query to itself, or to a key and a value; hands on the output alone."""

    def forward(self, query: torch.Tensor, key: torch.Tensor | None = None, value: torch.Tensor | None = None) -> torch.Tensor:  # type: ignore[override]
        """What the query found, in the query's shape."""
        key = query if key is None else key
        return super().forward(query, key, key if value is None else value, need_weights=False)[0]


class Permute(nn.Module):
    """Dimensions in another order."""

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.dims = tuple(dims)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The same numbers."""
        return input.permute(self.dims)


class Add(nn.Module):
    """The sum of its inputs."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """In written order."""
        output = inputs[0]
        for each in inputs[1:]:
            output = output + each
        return output


class Multiply(nn.Module):
    """The product of its inputs."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """In written order."""
        output = inputs[0]
        for each in inputs[1:]:
            output = output * each
        return output


class MatMul(nn.Module):
    """The matrix product of its two inputs."""

    def forward(self, input: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """As torch.matmul."""
        return torch.matmul(input, other)


class Cat(nn.Module):
    """Its inputs joined along a dimension."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """In written order."""
        return torch.cat(inputs, dim=self.dim)


def freeze(model: nn.Module, prefixes: Iterable[str]) -> None:
    """Take the parameters whose names begin with one of the prefixes out of training."""
    for name, parameter in model.named_parameters():
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes):
            parameter.requires_grad = False


def to_channels_last(model: nn.Module) -> None:
    """Put the kernels of images in memory order NHWC; the names, shapes and values stay."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def parameter_groups(model: nn.Module, groups: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Parameters by their options: (pattern, options). A pattern is searched in `name` and `Class.name`; the first match takes a parameter."""
    made: list[dict[str, Any]] = [{"params": []}, *({"params": [], **options} for _, options in groups)]
    for name, parameter in model.named_parameters():
        owner, _, own = name.rpartition(".")
        names = (name, f"{type(model.get_submodule(owner)).__name__}.{own}")
        matches = (any(re.search(pattern, each, re.IGNORECASE) for each in names) for pattern, _ in groups)
        at = next((at for at, matched in enumerate(matches, 1) if matched), 0)
        if parameter.requires_grad:
            made[at]["params"].append(parameter)
    return [group for group in made if group["params"]]


def moving_average(model: nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel:
    """An exponential moving average of the model, in `.module`. BatchNorm's statistics are averaged like the weights that they belong to.

    Whole numbers are copied: an average rounds them down, and a table of indices would name the wrong ones.
    """
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch ships it untyped

    def update(averaged: Any, current: Any, count: Any) -> None:
        if averaged[0].is_floating_point() or averaged[0].is_complex():
            average(averaged, current, count)
            return
        for mine, theirs in zip(averaged, current, strict=True):
            mine.copy_(theirs)

    return torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def targets_for(kind: str, inputs: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """What the loss compares with: the class number, a 1 among 0s or -1s, the number as one float, or the input itself."""
    if kind == "one_hot":  # mixed labels are shares of classes already
        return labels if labels.is_floating_point() else functional.one_hot(labels, num_classes).float()
    if kind == "signed":
        return functional.one_hot(labels, num_classes).float() * 2 - 1
    if kind in ("value", "binary"):
        return labels.float().unsqueeze(1)
    return inputs if kind == "input" else labels


def sample_weights(labels: torch.Tensor, weights: Any) -> torch.Tensor:
    """The weight of each sample's class, float64: as given, or one over the number of its samples, which draws all classes equally often."""
    of_classes = 1 / torch.bincount(labels).double() if weights == "balanced" else torch.tensor(weights, dtype=torch.float64)
    return of_classes[labels]


class Transformed(Dataset[tuple[Any, Any]]):
    """Samples after a transform."""

    def __init__(self, samples: Dataset[tuple[Any, Any]], transform: Any) -> None:
        self.samples, self.transform = samples, transform

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]  # every data set here has a length

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        sample, label = self.samples[index]
        return self.transform(sample), label


def seed_of(seed: int, epoch: int, index: int) -> int:
    """One seed of three numbers: odd factors spread neighbouring ones over 63 bits."""
    return (seed * 0x9E3779B97F4A7C15 + epoch * 0xC2B2AE3D27D4EB4F + index * 0x165667B19E3779F9) % 2**63


class Augmented(Dataset[tuple[Any, Any]]):
    """Samples after random transforms whose draws depend on (seed, epoch, index) alone: not on the order, the workers or a pause.

    Set `epoch` before each epoch, counting from 0.
    """

    def __init__(self, samples: Dataset[tuple[Any, Any]], transform: Any, seed: int) -> None:
        self.samples, self.transform, self.seed, self.epoch = samples, transform, seed, 0

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]  # every data set here has a length

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        sample, label = self.samples[index]
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(seed_of(self.seed, self.epoch, index))
        try:
            return self.transform(sample), label
        finally:
            torch.set_rng_state(state)


def augmented(
    batches: Iterable[tuple[int, tuple[torch.Tensor, torch.Tensor]]], transform: Any, seed: int, epoch: int
) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor]]]:
    """Numbered batches after random transforms, drawn once for each from (seed, epoch, number) alone."""
    for number, (inputs, labels) in batches:
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(seed_of(seed, epoch, number))
        after = transform(inputs)
        torch.set_rng_state(state)
        yield number, (after, labels)


def mixed(
    batches: Iterable[tuple[int, tuple[torch.Tensor, torch.Tensor]]], transform: Any, seed: int, epoch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Numbered batches after MixUp or CutMix, whose draws depend on (seed, epoch, number) alone: not on a pause, nor on what else draws.

    Labels [B] become shares of classes [B, classes].
    """
    for number, (inputs, labels) in batches:
        state = torch.get_rng_state()
        # below nought, where no sample's index is
        torch.default_generator.manual_seed(seed_of(seed, epoch, -1 - number))
        after = transform(inputs, labels)
        torch.set_rng_state(state)
        yield after
